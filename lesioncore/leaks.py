"""Columns that give the answer away, by name: only training data have them, or they hold the label.

Readers keep such columns (an audit wants them), but no model input may be made of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lesioncore.records import CORE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

# Whole names, compared in lower case.
LEAKING_NAMES = frozenset(
    {
        # ISIC 2024: made after biopsy, or by another model that saw the diagnosis
        "tbp_lv_dnn_lesion_confidence",
        # how the diagnosis was reached tells what it was (histology is rarely asked of a nevus)
        "dx_type",
        "diagnosis_confirm_type",
        "biopsed",
        "biopsied",
        "invasion_thickness_interval",
        "concomitant_biopsy",
        # the label itself, under the names that archives and tables use for it
        "target",
        "label",
        "labels",
        "class",
        "malignant",
        "malignancy",
        "benign",
        "benign_malignant",
        "melanocytic",
        "melanoma",
        "seborrheic_keratosis",
        "dx",
        "diagnostic",
        "diagnosis",
        # one-hot class columns of ISIC 2018, 2019 and MILK10k
        "mel",
        "nv",
        "bcc",
        "ak",
        "akiec",
        "bkl",
        "df",
        "vasc",
        "scc",
        "sccka",
        "unk",
        "inf",
        "ben_oth",
        "mal_oth",
        # weights of the official scorers, which depend on the class
        "score_weight",
        "validation_weight",
        # who gave the image and under what terms: prevalence differs by clinic, skin does not care
        "attribution",
        "copyright_license",
        "copyright",
        "license",
        "licence",
        # bookkeeping that follows the label in tables made for cross-validation
        "fold",
        "split",
    }
)
# ph2_: what dermatologists read off the image while they made the diagnosis.
LEAKING_PREFIXES = (
    "iddx",
    "mel_",
    "diagnosis_",
    "histolog",
    "clinical_diagnosis",
    "ph2_",
    "oof",
    "pred",
)
_SEPARATORS = re.compile(r"[\s\-./]+")


def is_leaking(column: str) -> bool:
    """Return whether a column of this name gives the answer away and must not be a model input.

    Parameters
    ----------
    column : str
        The name of a column, in any case; spaces, dashes and slashes count as underscores.
    """
    name = _SEPARATORS.sub("_", column.strip()).lower()
    return name in LEAKING_NAMES or name.startswith(LEAKING_PREFIXES)


def model_columns(frame: pd.DataFrame) -> list[str]:
    """Return the numeric columns of the source that a model may see, in the manifest's order.

    Core columns are not among them: an encoder asks for age, sex, site and diameter by name.
    """
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return [
        str(column)
        for column in frame.columns
        if column not in CORE_COLUMNS
        and not is_leaking(str(column))
        and (is_numeric_dtype(frame[column]) or is_bool_dtype(frame[column]))
    ]
