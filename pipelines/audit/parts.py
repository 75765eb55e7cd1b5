"""Which part of a split each image belongs to, whoever made the split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesioncore.errors import LesionError
from lesioncore.files import read_table
from lesioncore.readers.tables import ALIASES, clean_ids
from lesioncore.splits import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

#: Columns that name the part in tables of other tools; the first that a table has is taken.
PART_NAMES = ("split", "part", "subset", "set", "fold", "role")
_ID = "image_id"


@dataclass(frozen=True)
class Parts:
    """A split as the audit sees it.

    Attributes
    ----------
    path : Path
    of : Series of str, index the image ids of the file
        The part; null for images that are used for nothing.
    torn : list of str
        Ids that the file puts into several parts.
    """

    path: Path
    of: pd.Series[Any]
    torn: list[str]

    def named(self, image_ids: Sequence[str]) -> pd.Series[Any]:
        """Return the part of each image, null where it is in none, index 0 to rows - 1."""
        import pandas as pd

        return pd.Series(self.of.reindex(pd.Index(image_ids)).to_numpy(object), dtype=object)


def read_parts(path: Path) -> Parts:
    """Return the parts that a table names.

    Our `split.csv` has a role and a fold; tables of other tools have one column of `PART_NAMES`.

    Raises
    ------
    LesionError
        It cannot be read, or has no column of ids or of parts.
    """
    import pandas as pd

    ids = dict.fromkeys([*ALIASES[_ID], "group", "role"], str)
    options = {} if path.suffix.lower() == ".parquet" else {"dtype": ids}
    table = read_table(path, **options)
    column = next((name for name in ALIASES[_ID] if name in table), None)
    if column is None:
        raise LesionError(
            f"{path} has no column of ids (it has: {', '.join(map(str, table.columns))})",
            wanted=f"one of: {', '.join(ALIASES[_ID])}",
        )
    part = _places(table) if {*COLUMNS} - {"group", "members"} <= {*table} else _plain(table, path)
    named = pd.DataFrame({_ID: clean_ids(table[column]), "part": part}).dropna(subset=[_ID])
    several = named.dropna(subset=["part"]).drop_duplicates()[_ID].duplicated(keep=False)
    torn = named.dropna(subset=["part"]).drop_duplicates()[_ID][several].unique()
    first = named.drop_duplicates(_ID).set_index(_ID)["part"]
    return Parts(path, first, [str(name) for name in torn])


def split_of_run(run: Path) -> Path:
    """Return the split of a run folder: of a stage, or of the second stage of a `lesion run`.

    Raises
    ------
    LesionError
        There is none.
    """
    for path in (run / "split.csv", run / "classification" / "split.csv"):
        if path.is_file():
            return path
    raise LesionError(
        f"no split.csv in {run}",
        wanted="a run folder of segstage train, clsstage train or lesion run",
        mend="--split FILE names a split that lies elsewhere",
    )


def scores_of_run(run: Path) -> Path | None:
    """Return the predictions of a run folder: of a `lesion run`, else the out-of-fold ones."""
    paths = (run / "predictions.csv", run / "oof.csv", run / "classification" / "oof.csv")
    return next((path for path in paths if path.is_file()), None)


def masks_of_run(run: Path) -> Path | None:
    """Return the mask cache of a `lesion run`, None where there is none."""
    return run / "cache" if (run / "cache" / "index.json").is_file() else None


def _places(table: pd.DataFrame) -> pd.Series[Any]:
    """Return where our own split puts each row."""
    fold = table["fold"].astype("Int64").astype(str)
    alone = "members" in table and len(table) > 0 and int(table["members"].iloc[0]) == 1
    names = fold.map({"0": "validation", "1": "training"}) if alone else "fold " + fold
    return names.where(table["role"] == "train", table["role"].map({"test": "test list"}))


def _plain(table: pd.DataFrame, path: Path) -> pd.Series[Any]:
    from lesioncore.records import to_text

    column = next((name for name in PART_NAMES if name in table), None)
    if column is None:
        raise LesionError(
            f"{path} has no column that divides the images "
            f"(it has: {', '.join(map(str, table.columns))})",
            wanted=f"one of: {', '.join(PART_NAMES)}",
        )
    values = to_text(table[column])
    return "fold " + values if column == "fold" else values
