"""What a shipped weight learned from: ids and hashes, so that its masks can be called in-sample."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lesioncore.errors import LesionError
from lesioncore.files import PathLike, read_table, write_table

if TYPE_CHECKING:
    import pandas as pd

FILE = "learned_from.csv"
COLUMNS = ("image_id", "image_sha256", "patient_id", "lesion_id")
#: Hex digits kept of each SHA-256: 64 bits tell thousands of images apart at a quarter of the size.
DIGITS = 16


def write_learned(folder: PathLike, table: pd.DataFrame) -> None:
    """Write ``learned_from.csv``: one row an image, sorted by id, hashes cut to `DIGITS`.

    Parameters
    ----------
    table : DataFrame
        With `COLUMNS`; ids and hashes alone, nothing of the pixels.
    """
    kept = table[list(COLUMNS)].copy()
    kept["image_sha256"] = kept["image_sha256"].fillna("").astype(str).str[:DIGITS]
    write_table(Path(folder) / FILE, kept.sort_values("image_id", kind="stable"))


def read_learned(folder: PathLike) -> pd.DataFrame | None:
    """Return ``learned_from.csv`` of a weights folder, None where there is none.

    Raises
    ------
    LesionError
        It lacks a column.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    table = read_table(path, dtype=dict.fromkeys(COLUMNS, str), keep_default_na=True)
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise LesionError(f"{path} lacks the columns {', '.join(missing)}")
    return table
