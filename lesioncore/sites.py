"""One vocabulary for where on the body a lesion sits and for the sex, over all archives."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

SITES = (
    "head/neck",
    "anterior torso",
    "posterior torso",
    "lateral torso",
    "torso",
    "upper extremity",
    "lower extremity",
    "palms/soles",
    "oral/genital",
)
SEXES = ("female", "male")

# What archives call it -> ours. `torso` is used where front or back was not said (ISIC 2020,
# `trunk` of HAM10000 and MILK10k). Hand and foot go to the extremities, as in the ISIC 2019 table
# for the images of HAM10000; only `acral` and palms or soles named as such are `palms/soles`.
_SITE_WORDS = {
    "head/neck": (
        "head/neck", "head & neck", "head and neck", "head neck", "head neck face", "head", "neck",
        "face", "scalp", "ear", "nose", "lip", "cheek", "forehead", "eyelid", "chin", "temple",
    ),
    "anterior torso": ("anterior torso", "torso front", "chest", "abdomen", "breast", "belly"),
    "posterior torso": ("posterior torso", "torso back", "back", "buttock", "buttocks"),
    "lateral torso": ("lateral torso", "flank"),
    "torso": ("torso", "trunk"),
    "upper extremity": (
        "upper extremity", "arm", "left arm", "right arm", "upper arm", "forearm", "elbow", "hand",
        "wrist", "shoulder", "finger", "fingers",
    ),
    "lower extremity": (
        "lower extremity", "leg", "left leg", "right leg", "lower leg", "thigh", "knee", "shin",
        "calf", "ankle", "foot", "feet", "hip", "toe", "toes",
    ),
    "palms/soles": ("palms/soles", "palms soles", "acral", "palm", "palms", "sole", "soles"),
    "oral/genital": ("oral/genital", "oral genital", "genital", "genitals", "oral", "mucosa"),
}  # fmt: skip
_SITE_OF = {word: site for site, words in _SITE_WORDS.items() for word in words}
_SEX_OF = {"female": "female", "f": "female", "woman": "female", "w": "female"} | {
    "male": "male", "m": "male", "man": "male"
}  # fmt: skip
UNKNOWN_WORDS = frozenset(
    {"", "unknown", "unk", "n/a", "na", "nan", "none", "null", "not available", "other", "-", "?"}
)


def plain_words(raw: object) -> str:
    """Return `raw` in lower case, with underscores and runs of spaces as one space."""
    return re.sub(r"[\s_]+", " ", str(raw)).strip().lower()


def harmonise_site(raw: object) -> str | None:
    """Return one of `SITES` for what an archive or a person calls the place, or None if unknown."""
    return _SITE_OF.get(plain_words(raw))


def harmonise_sex(raw: object) -> str | None:
    """Return `female`, `male` or None."""
    return _SEX_OF.get(plain_words(raw))


def map_words(values: pd.Series, function: Callable[[object], str | None]) -> pd.Series:
    """Return `values` with `function` applied once to each distinct word; None becomes null.

    The result is text (missing is NaN) on the index of `values`: an archive of 400,000 rows has
    a dozen sites, so this costs a dozen calls.
    """
    import numpy as np
    import pandas as pd

    words = values.dropna().unique()
    mapped = {word: function(word) for word in words}
    return values.map(mapped).astype(pd.StringDtype(na_value=np.nan))
