"""From an archive's table to ours: columns by their many names, words to one vocabulary."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesioncore.errors import LesionError
from lesioncore.sites import UNKNOWN_WORDS, harmonise_sex, harmonise_site, map_words, plain_words

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("lesion")

#: Our column -> what archives call it; the first that a table has is taken.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "image_id": ("image_id", "isic_id", "image_name", "img_id", "image"),
    "patient_id": ("patient_id", "patient"),
    "lesion_id": ("lesion_id",),
    "target": ("target",),
    "diagnosis": ("diagnosis", "dx", "diagnostic"),
    "age": ("age", "age_approx", "age_approximate", "age_years"),
    "sex": ("sex", "gender"),
    "site": (
        "site",
        "anatom_site_general",
        "anatom_site_general_challenge",
        "anatom_site",
        "localization",
        "region",
    ),
    "modality": ("modality", "image_type"),
    "diameter_mm": ("diameter_mm", "clin_size_long_diam_mm"),
}
_MODALITY_STARTS = {
    "dermo": "dermoscopy",
    "dermatosc": "dermoscopy",
    "clinical": "clinical",
    "tbp tile": "tile",
    "tile": "tile",
}
_ID_SUFFIX = re.compile(r"(_downsampled)?(\.(jpe?g|png|bmp|tiff?|webp))?$", re.IGNORECASE)
_TRUTH = {"true": 1.0, "false": 0.0}
_TARGET = _TRUTH | {
    "malignant": 1.0,
    "benign": 0.0,
    "1": 1.0,
    "0": 0.0,
    "1.0": 1.0,
    "0.0": 0.0,
    "yes": 1.0,
    "no": 0.0,
}


def read_official(path: Path) -> pd.DataFrame:
    """Return an archive's CSV as it is, ids as text (`0012` is not 12); errors name the file."""
    from lesioncore.files import read_table

    ids = {name for ours in ("image_id", "patient_id", "lesion_id") for name in ALIASES[ours]}
    return read_table(path, dtype=dict.fromkeys(sorted(ids), "str"))


def require_columns(table: pd.DataFrame, path: Path, columns: Iterable[str]) -> None:
    """Raise a `LesionError` naming the file and its columns if any of `columns` is not there."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise LesionError(
            f"{path}: no column {', '.join(map(repr, missing))}; "
            f"it has: {', '.join(map(str, table.columns))}",
            wanted="the official table, columns as published",
            mend="fetch the table again, or read it with --dataset csv and --columns",
        )


def standardise(
    table: pd.DataFrame,
    source: str,
    path: Path | str = "table",
    aliases: Mapping[str, tuple[str, ...]] = ALIASES,
) -> pd.DataFrame:
    """Return `table` with our core columns and vocabulary; the rest follows under its own names.

    The archive's own word for the disease is kept as `diagnosis_raw` (no model sees it); truth
    values become 1 and 0. Words that no vocabulary has become null, with a line in the log.

    Parameters
    ----------
    table : DataFrame
        One row an image, as the archive gives it.
    source : str
        The reader's name.
    path : path or str
        What errors call the table.
    aliases : mapping
        Our column to the names it may have.

    Raises
    ------
    LesionError
        No column holds the image's id, or ages and diameters are not numbers.
    """
    import pandas as pd

    columns: dict[str, pd.Series] = {}
    used: set[str] = set()
    for ours, names in aliases.items():
        theirs = next((name for name in names if name in table.columns), None)
        if theirs is not None:
            used.add(theirs)
            columns[ours] = table[theirs]
    if "image_id" not in columns:
        require_columns(table, Path(path), [aliases["image_id"][0]])
    columns["image_id"] = clean_ids(columns["image_id"])
    for name in ("age", "diameter_mm"):
        if name in columns:
            columns[name] = _numbers(columns[name], f"{path}: {name}")
    if "target" in columns:
        columns["target"] = target_values(columns["target"], f"{path}: target")
    if "sex" in columns:
        columns["sex"] = _words(columns["sex"], harmonise_sex, "sex", path)
    if "site" in columns:
        columns["site"] = _words(columns["site"], harmonise_site, "site", path)
    if "modality" in columns:
        columns["modality"] = _words(columns["modality"], harmonise_modality, "modality", path)
    if "diagnosis" in columns:
        columns |= harmonised(columns["diagnosis"], source, path)
    for name in table.columns:
        if name not in used and name not in columns:
            columns[name] = truth_values(table[name])
    return pd.DataFrame(columns)


def harmonised(raw: pd.Series, source: str, path: Path | str = "table") -> dict[str, pd.Series]:
    """Return the columns `diagnosis` (ours) and `diagnosis_raw` (theirs) for an archive's words."""
    from lesioncore.diagnoses import harmonise, unrecognised
    from lesioncore.records import to_text

    foreign = unrecognised(source, raw.dropna().unique())
    if foreign:
        log.warning(
            "%s: %d diagnoses are not in the table and become unknown: %s",
            path,
            len(foreign),
            _some(foreign),
        )
    return {
        "diagnosis": map_words(raw, lambda word: harmonise(source, word)),
        "diagnosis_raw": to_text(raw),
    }


def target_values(values: pd.Series, name: str) -> pd.Series:
    """Return a binary label as 1.0, 0.0 or NaN; `malignant`, `benign`, `true`, `no` are understood.

    Raises
    ------
    LesionError
        A value is none of these; `name` is what it calls the column.
    """
    import pandas as pd

    if pd.api.types.is_numeric_dtype(values):
        return values.astype("float64")
    words = {word: plain_words(word) for word in values.dropna().unique()}
    foreign = sorted({w for w in words.values() if w not in _TARGET and w not in UNKNOWN_WORDS})
    if foreign:
        raise LesionError(
            f"{name}: not a binary label: {_some(foreign)}",
            wanted="1 or malignant, 0 or benign, or nothing where it is unknown",
            mend="a column of diseases is mapped as diagnosis, not as target",
        )
    return values.map({word: _TARGET.get(plain) for word, plain in words.items()}).astype("float64")


def harmonise_modality(raw: object) -> str | None:
    """Return `dermoscopy`, `clinical`, `tile` or None for what an archive calls the photograph."""
    word = plain_words(raw)
    return next((ours for start, ours in _MODALITY_STARTS.items() if word.startswith(start)), None)


def one_hot_word(table: pd.DataFrame, classes: Sequence[str]) -> pd.Series:
    """Return the name of the class column that holds the row's 1; null where none does."""
    import numpy as np
    import pandas as pd

    scores = table[list(classes)].to_numpy(dtype=float)
    best = np.nan_to_num(scores, nan=-1.0).argmax(axis=1)
    words = pd.Series(np.asarray(classes, dtype=object)[best], index=table.index)
    return words.where(scores[np.arange(len(scores)), best] > 0.5)


def clean_ids(ids: pd.Series) -> pd.Series:
    """Return image ids as text, without a file's suffix and ISIC 2019's `_downsampled`."""
    from lesioncore.records import to_text

    text = to_text(ids)
    if text.str.contains(r"\.|_downsampled", regex=True, na=False).any():
        text = text.str.replace(_ID_SUFFIX, "", regex=True)
    return text


def truth_values(values: pd.Series) -> pd.Series:
    """Return truth values as float64 1 and 0, NaN where unknown; other columns as they are."""
    import pandas as pd

    if pd.api.types.is_bool_dtype(values):
        return values.astype("float64")
    if pd.api.types.is_numeric_dtype(values):
        return values
    words = {word: plain_words(word) for word in values.dropna().unique()}
    if not words or not set(words.values()) <= {*_TRUTH, *UNKNOWN_WORDS}:
        return values
    if not set(words.values()) & set(_TRUTH):
        return values
    return values.map({word: _TRUTH.get(plain) for word, plain in words.items()}).astype("float64")


def fill_from(table: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Return `table` with its null cells filled from the row of `other` with the same `image_id`.

    Columns that only `other` has are added; rows that only `other` has are not.
    """
    rows = other.drop_duplicates("image_id").set_index("image_id")
    result = table.copy()
    for column in rows.columns:
        values = result["image_id"].map(rows[column])
        result[column] = result[column].fillna(values) if column in result else values
    return result


def _numbers(values: pd.Series, name: str) -> pd.Series:
    import pandas as pd

    from lesioncore.records import to_number

    if not pd.api.types.is_numeric_dtype(values):
        unknown = [w for w in values.dropna().unique() if plain_words(w) in UNKNOWN_WORDS]
        values = values.mask(values.isin(unknown))
    return to_number(values, name)


def _words(values: pd.Series, function: Any, what: str, path: Path | str) -> pd.Series:
    result = map_words(values, function)
    foreign = sorted(
        str(word)
        for word in values[result.isna()].dropna().unique()
        if plain_words(word) not in UNKNOWN_WORDS
    )
    if foreign:
        log.warning("%s: unknown words for %s become null: %s", path, what, _some(foreign))
    return result


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:5]) + (f" and {len(words) - 5} more" if len(words) > 5 else "")
