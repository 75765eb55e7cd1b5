"""Members of an ensemble: anybody's tables of scores, or run folders, joined row by row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lesioncore.errors import LesionError, UsageError
from lesioncore.progress import log
from lesioncore.runs import OUT_OF_FOLD
from pipelines.scoring_config import EvaluateConfig
from pipelines.scoring_table import read_scores

if TYPE_CHECKING:
    import pandas as pd

_SEPARATOR = "::"
_PREDICTIONS = "predictions.csv"


@dataclass(frozen=True)
class Source:
    """Where the scores of one model lie.

    Attributes
    ----------
    name : str
        Of the model: letters, digits and underscores.
    path : Path
        The table.
    column : str or None
        Of the scores; None is found by its name.
    """

    name: str
    path: Path
    column: str | None


def find_sources(members: Sequence[str], *, out_of_fold: bool = True) -> list[Source]:
    """Return the tables that a command names, each with a name of its own.

    Parameters
    ----------
    members : sequence of str
        A table, `TABLE::COLUMN`, a run folder, or a folder with a `predictions.csv`.
    out_of_fold : bool
        Of a run folder, take the out-of-fold predictions; otherwise it is refused: it holds none
        of new images.

    Raises
    ------
    LesionError
        A folder without predictions.
    """
    found: list[Source] = []
    taken: set[str] = set()
    for text in members:
        place, _, column = text.partition(_SEPARATOR)
        path = Path(place)
        name = _plain(column or (path.resolve().name if path.is_dir() else path.stem))
        number, free = 2, name
        while free in taken:
            free, number = f"{name}_{number}", number + 1
        taken.add(free)
        found.append(Source(free, _table_of(path, out_of_fold), column or None))
    return found


def join_scores(
    sources: Sequence[Source], *, id_column: str | None = None, max_failed: int = 0
) -> pd.DataFrame:
    """Return `image_id` and a column of scores for each source, float64, for the rows of all.

    Raises
    ------
    LesionError
        A table cannot be read, or more than `max_failed` rows lack a score of some member.
    """
    tables = [
        read_scores(
            EvaluateConfig(
                predictions=source.path,
                id_column=id_column,
                score_column=[source.column] if source.column else None,
            ),
            f"FILE{_SEPARATOR}COLUMN",
        ).rename(columns={"score": source.name})
        for source in sources
    ]
    joined = tables[0]
    for table in tables[1:]:
        joined = joined.merge(table, on="image_id", how="outer", sort=False)
    # The order of the first member, whatever the join did; new rows follow.
    place = {name: number for number, name in enumerate(tables[0]["image_id"])}
    joined = joined.iloc[joined["image_id"].map(place).fillna(len(place)).argsort(kind="stable")]
    lacking = {s.name: int(joined[s.name].isna().sum()) for s in sources}
    complete = joined.dropna().reset_index(drop=True)
    refuse_lacking(len(joined) - len(complete), len(joined), lacking, max_failed)
    return complete


def refuse_lacking(lost: int, total: int, lacking: Mapping[str, int], max_failed: int) -> None:
    """Refuse rows that some member has no score of, past `max_failed`; fewer are told.

    Parameters
    ----------
    lost, total : int
        Rows without some score, and all rows.
    lacking : mapping of str to int
        How many rows each member lacks.
    """
    if not lost:
        return
    counts = ", ".join(f"{name} lacks {number}" for name, number in lacking.items() if number)
    if lost == total or lost > max_failed:
        raise LesionError(
            f"{lost} of {total} rows have no score of some member ({counts})",
            wanted=f"the same images in all of them; at most {max_failed} without (--max-failed)",
            mend="complete the predictions"
            + ("" if lost == total else f", or leave those rows out with --max-failed {lost}"),
        )
    log.warning("left out: %d of %d rows without a score of some member (%s)", lost, total, counts)


def _table_of(path: Path, out_of_fold: bool) -> Path:
    if not path.is_dir():
        return path
    if out_of_fold and (path / OUT_OF_FOLD).is_file():
        return path / OUT_OF_FOLD
    if (path / _PREDICTIONS).is_file():
        return path / _PREDICTIONS
    if (path / OUT_OF_FOLD).is_file():
        raise UsageError(
            f"{path} holds predictions of the images it was trained on",
            wanted="predictions of the new images, in the same order of members",
            mend="clsstage predict --weights ... --out predictions.csv, and name that table",
        )
    raise LesionError(
        f"{path} holds no predictions",
        wanted=f"a finished run with {OUT_OF_FOLD}, or a folder with {_PREDICTIONS}",
    )


def _plain(text: str) -> str:
    return re.sub(r"\W+", "_", text).strip("_") or "member"
