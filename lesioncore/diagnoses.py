"""One versioned table: what archives call a disease, our name for it, malignant by which policy."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lesioncore.errors import LesionError, UsageError, unknown_name
from lesioncore.sites import UNKNOWN_WORDS, plain_words

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

#: Goes up whenever a word or a policy is mapped anew; scores made by different versions differ.
TABLE_VERSION = 1

#: Named ways to say which lesions count as malignant.
POLICIES = {
    "target": "the archive's own binary label",
    "cancer": "melanoma, basal and squamous cell carcinoma, in situ included, and other cancers",
    "cancer+ak": "as cancer, and actinic keratosis",
    "melanoma": "melanoma, in situ included",
}


@dataclass(frozen=True)
class Disease:
    """A harmonised diagnosis; `cancer`, `ak`, `melanoma` are None where nobody can say.

    `words` are whole names in archives, `starts` are beginnings that stand for a family of names
    ("nevus, acral", "melanoma in situ, lentigo maligna type").
    """

    name: str
    cancer: bool | None
    cancer_ak: bool | None
    melanoma: bool | None
    words: tuple[str, ...]
    starts: tuple[str, ...] = ()


# The table. Classes are as fine as what ISIC 2017 to 2020, HAM10000, PAD-UFES-20 and MILK10k can
# all tell apart. `akiec` (HAM10000, ISIC 2018) has a name of its own: of 229 such images that
# ISIC 2019 labels as well, it calls 89 actinic keratosis and 140 squamous cell carcinoma.
DISEASES = (
    Disease("melanoma", True, True, True, ("mel", "melanoma", "lentigo maligna"),
            ("melanoma", "lentigo maligna", "malignant melanocytic proliferations")),
    Disease("basal cell carcinoma", True, True, False, ("bcc",), ("basal cell carcinoma",)),
    Disease("squamous cell carcinoma", True, True, False,
            ("scc", "sccka", "keratoacanthoma", "bowen's disease", "bowens disease",
             "bowen disease"),
            ("squamous cell carcinoma",)),
    Disease("actinic keratosis", False, True, False, ("ak", "ack", "solar or actinic keratosis"),
            ("actinic keratosis", "solar keratosis")),
    Disease("actinic keratosis or intraepithelial carcinoma", None, True, False, ("akiec",)),
    Disease("nevus", False, False, False,
            ("nv", "nev", "naevus", "blue nevus", "common nevus", "atypical nevus", "spitz nevus",
             "melanocytic nevus", "dysplastic nevus", "congenital nevus"), ("nevus",)),
    Disease("benign keratosis", False, False, False,
            ("bkl", "sek", "sk", "lichenoid keratosis", "lichen planus like keratosis",
             "lichen planus-like keratosis", "lentigo nos", "lentigo simplex", "ink-spot lentigo",
             "lentigo", "pigmented benign keratosis", "clear cell acanthoma", "benign keratosis"),
            ("seborrheic keratosis", "solar lentigo")),
    Disease("dermatofibroma", False, False, False, ("df",), ("dermatofibroma,", "dermatofibroma")),
    Disease("vascular lesion", False, False, False,
            ("vasc", "angioma", "angiokeratoma", "pyogenic granuloma", "vascular lesion"),
            ("hemangioma", "lymphangioma")),
    Disease("inflammatory or infectious", False, False, False,
            ("inf", "inflammatory or infectious diseases", "inflammatory or infectious",
             "porokeratosis", "molluscum"), ("verruca",)),
    Disease("other benign", False, False, False,
            ("ben_oth", "ben oth", "benign - other", "collision - only benign proliferations",
             "cafe-au-lait macule", "mucosal melanotic macule", "sebaceous hyperplasia",
             "trichoblastoma", "infundibular or epidermal cyst", "juvenile xanthogranuloma",
             "supernumerary nipple", "exogenous", "scar", "neurofibroma", "acrochordon",
             "angiofibroma", "other benign")),
    Disease("benign, unspecified", False, False, False, ("benign", "benign, unspecified")),
    Disease("other malignant", True, True, None,
            ("mal_oth", "mal oth", "collision - at least one malignant proliferation",
             "merkel cell carcinoma", "angiosarcoma", "kaposi sarcoma",
             "dermatofibrosarcoma protuberans", "other malignant")),
    Disease("indeterminate", None, None, None,
            ("indeterminate", "atypical melanocytic proliferation",
             "atypical melanocytic neoplasm"),
            ("atypical intraepithelial melanocytic proliferation",)),
)  # fmt: skip

# Words that mean something in one archive only.
SOURCE_WORDS = {
    "ph2": {"0": "nevus", "1": "nevus", "2": "melanoma"},  # column `Clinical Diagnosis`
}

_BY_NAME = {disease.name: disease for disease in DISEASES}
_BY_WORD = {w: d.name for d in DISEASES for w in (plain_words(d.name), *map(plain_words, d.words))}
_BY_START = sorted(
    ((start, d.name) for d in DISEASES for start in d.starts), key=lambda item: -len(item[0])
)
# The last word of an `A::B::C` path that the table does not know: the first level still says this.
_BY_LEVEL = {
    "benign": "other benign",
    "malignant": "other malignant",
    "indeterminate": "indeterminate",
}


def disease_names() -> tuple[str, ...]:
    """Return the harmonised names, in the table's order."""
    return tuple(_BY_NAME)


def harmonise(source: str, raw: object) -> str | None:
    """Return our name for what archive `source` calls a disease, or None.

    None stands for missing, for "unknown" (which is not benign: a 2020 row of unknown diagnosis
    stays unknown) and for words that the table does not have; see `unrecognised`.

    Parameters
    ----------
    source : str
        Name of the reader; a few words mean something in one archive only.
    raw : object
        Word, class code, or a path of levels as ISIC 2024 writes them (`Malignant::...::Melanoma
        in situ`), of which the deepest level that the table knows counts.
    """
    if raw is None or raw != raw:
        return None
    text = plain_words(raw)
    if text in SOURCE_WORDS.get(source, {}):
        return SOURCE_WORDS[source][text]
    if text in UNKNOWN_WORDS:
        return None
    levels = [level.strip() for level in re.split(r"::", text)]
    for level in reversed(levels):
        name = _BY_WORD.get(level)
        # The bare first level of a longer path only says benign or malignant; see below.
        if name and not (len(levels) > 1 and level in _BY_LEVEL):
            return name
        for start, family in _BY_START:
            if level.startswith(start):
                return family
    return _BY_LEVEL.get(levels[0])


def unrecognised(source: str, raws: Iterable[object]) -> list[str]:
    """Return the distinct words that are neither in the table nor a way to say unknown, sorted."""
    return sorted(
        {
            str(raw)
            for raw in raws
            if raw is not None
            and raw == raw
            and plain_words(raw) not in UNKNOWN_WORDS
            and harmonise(source, raw) is None
        }
    )


def malignant(diagnoses: Iterable[object], policy: str) -> npt.NDArray[np.float64]:
    """Return 1 malignant, 0 not, NaN unknown, for harmonised diagnoses under a named policy.

    Parameters
    ----------
    diagnoses : iterable of str or null, length n
        Harmonised names. Null is unknown, never benign.
    policy : str
        `cancer`, `cancer+ak` or `melanoma`.

    Returns
    -------
    (n,) float64 array

    Raises
    ------
    UsageError
        The policy is unknown, or is `target`, which no diagnosis answers.
    LesionError
        A name is not in the table.
    """
    import numpy as np
    import pandas as pd

    if policy not in POLICIES:
        raise unknown_name("policy", policy, POLICIES)
    if policy == "target":
        raise UsageError(
            "policy 'target' is the archive's own label and cannot be told from a diagnosis",
            wanted="one of: cancer, cancer+ak, melanoma",
        )
    field = {"cancer": "cancer", "cancer+ak": "cancer_ak", "melanoma": "melanoma"}[policy]
    codes, names = pd.factorize(pd.Series(list(diagnoses), dtype="object"))
    foreign = [str(name) for name in names if name not in _BY_NAME]
    if foreign:
        raise LesionError(
            f"not a harmonised diagnosis: {', '.join(sorted(foreign)[:5])}",
            wanted=f"one of: {', '.join(_BY_NAME)}",
            mend="map the column with lesioncore.diagnoses.harmonise(source, raw)",
        )
    answers = [getattr(_BY_NAME[str(name)], field) for name in names]
    values = np.array([np.nan if a is None else float(a) for a in answers] + [np.nan])
    return values[codes]  # code -1 (null) takes the last entry


def labels(manifest: pd.DataFrame, policy: str) -> npt.NDArray[np.float64]:
    """Return 1 malignant, 0 not, NaN unknown, for the rows of a manifest under a policy.

    Parameters
    ----------
    manifest : DataFrame
        As `lesioncore.records.check_manifest` returns it.
    policy : str
        A key of `POLICIES`; `target` reads the column `target`.

    Returns
    -------
    (n,) float64 array, in the manifest's order.
    """
    import numpy as np

    if policy == "target":
        return np.asarray(manifest["target"], dtype=np.float64)
    return malignant(manifest["diagnosis"], policy)
