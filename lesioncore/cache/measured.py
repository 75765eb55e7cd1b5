"""`measurements.parquet` beside the masks: shape and colour, one row a mask, keyed by what it was
measured on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesioncore.cache.index import read_index
from lesioncore.cache.reader import MaskCache
from lesioncore.errors import LesionError
from lesioncore.files import read_table, write_table
from lesioncore.measurements import MEASUREMENTS, MEASUREMENTS_VERSION

if TYPE_CHECKING:
    import pandas as pd

FILE = "measurements.parquet"
#: What says of which mask of which picture a row speaks.
KEY = ("image_id", "image_sha256", "fingerprint_sha256", "revision")
#: Before the figures: the key, the version they were measured by, the status, the scale.
COLUMNS = (*KEY, "measurements_version", "status", "mm_per_pixel", *MEASUREMENTS)
_TEXT = ("image_id", "image_sha256", "fingerprint_sha256", "status")
_WHOLE = {"revision": "int32", "measurements_version": "int32"}

PathLike = str | os.PathLike[str]


def read_measurements(folder: PathLike) -> pd.DataFrame:
    """Return the measurements of the masks that count now, one row an image.

    Columns that a later version added are kept, at the end; `MEASUREMENTS` that the file lacks are
    null. Rows of masks that were edited or made anew since are left out: they are not measured yet.

    Raises
    ------
    LesionError
        There is no cache, its masks were not measured, or the file is damaged.
    """
    where = Path(folder)
    cache = MaskCache(where)
    if not (where / FILE).is_file():
        raise LesionError(
            f"the masks of {where} are not measured",
            wanted=FILE,
            mend=f"lesion cache measure --masks {where} --dataset NAME --root DIR",
        )
    return current(stored_measurements(where), cache)


def stored_measurements(folder: PathLike) -> pd.DataFrame:
    """Return all rows of the file, stale ones too; an empty table where there is none."""
    import pandas as pd

    path = Path(folder) / FILE
    if not path.is_file():
        return as_table([])
    table = read_table(path)
    absent = [name for name in KEY if name not in table.columns]
    if absent:
        raise LesionError(
            f"{path} has no column {absent[0]!r}",
            wanted=f"the keys {', '.join(KEY)}",
            mend=f"rm {path}, then lesion cache measure",
        )
    if "measurements_version" not in table.columns:
        table["measurements_version"] = 0
    others = [name for name in table.columns if name not in COLUMNS]
    return table.reindex(columns=[*COLUMNS, *others]) if len(table) else pd.DataFrame(table)


def as_table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return rows of `COLUMNS` as a table with the types of the file."""
    import pandas as pd

    frame = pd.DataFrame(list(rows), columns=list(COLUMNS))
    types: dict[str, Any] = {name: "str" if name in _TEXT else "float64" for name in COLUMNS}
    return frame.astype(types | _WHOLE)


def keys_of(cache: MaskCache) -> pd.DataFrame:
    """Return `KEY`, `status` of the row that counts of each image, in the cache's order."""
    table = cache.table()[["image_id", "image_sha256", "revision", "status"]]
    sha256 = str(read_index(cache.folder)["fingerprint_sha256"])
    return table.assign(fingerprint_sha256=sha256, revision=table["revision"].astype("int32"))


def current(stored: pd.DataFrame, cache: MaskCache) -> pd.DataFrame:
    """Return the rows of a table that speak of the cache's masks as they are now."""
    table = stored[stored["measurements_version"] == MEASUREMENTS_VERSION]
    table = table.drop_duplicates(list(KEY), keep="last")
    live = keys_of(cache)[list(KEY)].astype({name: "str" for name in KEY if name in _TEXT})
    return live.merge(table, on=list(KEY), how="inner", validate="one_to_one")[stored.columns]


def write_measurements(cache: MaskCache, *parts: pd.DataFrame) -> pd.DataFrame:
    """Write the rows of `parts` that are current beside the cache, later parts winning.

    Returns
    -------
    DataFrame
        What was written.
    """
    import pandas as pd

    kept = [part for part in parts if len(part)] or [as_table([])]
    table = current(pd.concat(kept, ignore_index=True), cache)
    write_table(cache.folder / FILE, table)
    return table


def measured_counts(cache: MaskCache) -> dict[str, int] | None:
    """Return how many masks are measured and how many rows are stale; None without the file."""
    if not (cache.folder / FILE).is_file():
        return None
    stored = stored_measurements(cache.folder)
    now = len(current(stored, cache))
    return {"masks": now, "stale": len(stored) - now}


def measurement_problems(cache: MaskCache) -> list[str]:
    """Return what is wrong with the file, one line a fault: unreadable, keys twice or of no image.

    A row of a mask that was changed since is no fault: it is measured again next time.
    """
    if not (cache.folder / FILE).is_file():
        return []
    try:
        stored = stored_measurements(cache.folder)
    except LesionError as error:
        return [f"{FILE}: {error.found}"]
    problems = []
    twice = int(stored.duplicated(list(KEY)).sum())
    if twice:
        problems.append(f"{FILE}: {twice} rows say the same mask again")
    strangers = stored.loc[~stored["image_id"].isin(set(cache.ids())), "image_id"]
    if len(strangers):
        problems.append(
            f"{FILE}: {len(strangers)} rows are of images without a mask, "
            f"first {strangers.iloc[0]!r}"
        )
    return problems


def merge_measurements(sources: Sequence[Path], target: PathLike) -> None:
    """Write into the merged cache `target` what its `sources` have measured, if any."""
    tables = [stored_measurements(folder) for folder in sources if (folder / FILE).is_file()]
    if tables:
        write_measurements(MaskCache(target), *tables)
