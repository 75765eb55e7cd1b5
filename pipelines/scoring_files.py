"""Columns of the files that people score: ids, scores, by the usual names or the ones they say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lesioncore.errors import LesionError
from lesioncore.files import read_table
from lesioncore.readers.tables import ALIASES, clean_ids
from pipelines.scoring_config import EvaluateConfig

SCORE_NAMES = ("malignant", "score", "probability", "prediction", "prob", "oof_prediction")
#: The ids of a table that was read, whatever the file calls them.
ID = "id of the row"


def read_rows(path: Path, config: EvaluateConfig) -> pd.DataFrame:
    """Return the table in `path` with its ids as text under `ID`, each once.

    Raises
    ------
    LesionError
        No file, no column of ids, or an id that is empty or there twice.
    """
    named = (config.id_column, config.group_column)
    known = [*ALIASES["image_id"], *ALIASES["patient_id"], *ALIASES["lesion_id"], *named]
    text = {name: str for name in known if name}  # or 0012 would become 12
    csv = path.suffix.lower() != ".parquet"
    table = read_table(path, **({"dtype": text} if csv else {}))
    # --id-column names the column in whichever of the files has it.
    column = config.id_column if config.id_column in table else None
    column = column or first_known(table, ALIASES["image_id"])
    if column is None:
        raise LesionError(
            f"{path} has no column of ids (it has: {some(table.columns)})",
            wanted=config.id_column or f"one of: {', '.join(ALIASES['image_id'])}",
            mend="name it with --id-column",
        )
    table[ID] = clean_ids(table[column])
    twice = table[ID].duplicated() | table[ID].isna()
    if twice.any():
        raise LesionError(
            f"{path}: {int(twice.sum())} rows have an id that is empty or was there before "
            f"(first: {table[ID][twice].iloc[0]})",
            wanted="each image once",
        )
    return table


def score_columns(
    table: pd.DataFrame,
    path: Path,
    wanted: Sequence[str] | None,
    label: str | None,
    named_by: str = "--score-column",
) -> list[str]:
    """Return the columns of scores of a table: those wanted, else the first known by its name.

    Parameters
    ----------
    label : str or None
        Column of this table that holds the labels and so no score; None where labels lie apart.
    named_by : str
        How the caller's user names the column; errors say so.
    """
    if wanted:
        for name in wanted:
            require(table, name, path, (name,), named_by)
        return list(dict.fromkeys(wanted))
    known = SCORE_NAMES if label else (*SCORE_NAMES, "target")
    column = first_known(table, [name for name in known if name != label])
    require(table, column, path, known, named_by, "column of scores")
    if column == "target" and table[column].dropna().isin((0, 1)).all():
        raise LesionError(
            f"{path}: the only score known by its name is target, which holds labels (0 and 1)",
            wanted=f"a column of scores (it has: {some(_own(table))})",
            mend=f"name it with {named_by}",
        )
    return [str(column)]


def numbers(
    table: pd.DataFrame, column: str, path: Path, named_by: str = "--score-column"
) -> pd.Series:
    """Return a column as float64; text in it is a `LesionError`."""
    try:
        return pd.to_numeric(table[column]).astype("float64")
    except (TypeError, ValueError) as error:
        raise LesionError(
            f"{path}: column {column} is not a column of numbers ({error})",
            wanted="one score a row, higher for more malignant",
            mend=f"name another with {named_by}",
        ) from error


def compared_scores(
    predictions: pd.DataFrame, config: EvaluateConfig, label: str | None
) -> pd.DataFrame:
    """Return `image_id` and a column of scores a model, of all files of predictions.

    Models are called as their columns; with `against`, as their file, and by both where a file
    has several. An id that a file lacks has no score of its models.
    """
    files = [(config.predictions, predictions)]
    files += [(path, read_rows(path, config)) for path in config.against or []]
    tables = []
    for (path, table), title in zip(files, _titles([path for path, _ in files]), strict=True):
        wanted = config.score_column
        if wanted and len(files) > 1:  # each file has its own, at least one of them
            wanted = [name for name in wanted if name in table] or wanted
        names = score_columns(table, path, wanted, label)
        if len(files) > 1:
            models = [title] if len(names) == 1 else [f"{title}: {name}" for name in names]
        else:
            models = names
        one = {model: numbers(table, name, path) for model, name in zip(models, names, strict=True)}
        tables.append(pd.DataFrame({ID: table[ID], **one}))
    joined = tables[0]
    for table in tables[1:]:
        joined = joined.merge(table, on=ID, how="outer", sort=False)
    return joined


def first_known(table: pd.DataFrame, names: Sequence[str]) -> str | None:
    """Return the first of `names` that is a column of `table`."""
    return next((name for name in names if name in table), None)


def require(
    table: pd.DataFrame, column: str | None, path: Path, known: Sequence[str], flag: str,
    what: str = "column of labels",
) -> None:  # fmt: skip
    """Raise a `LesionError` that names the file, its columns and `flag` where `column` is not."""
    if column is None or column not in table:
        raise LesionError(
            f"{path} has no {f'column {column}' if column else what} (it has: {some(_own(table))})",
            wanted=None if column else f"one of: {', '.join(known)}",
            mend=f"name it with {flag}",
        )


def some(names: Sequence[Any] | pd.Index) -> str:
    """Return up to a dozen names with commas between, and how many more there are."""
    shown = ", ".join(str(name) for name in list(names)[:12])
    return shown + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _own(table: pd.DataFrame) -> list[str]:
    return [str(name) for name in table if name != ID]


def _titles(paths: Sequence[Path]) -> list[str]:
    """Return a name for each file: its own, with as many folders as tell it from the others."""
    for depth in (1, 2, 3):
        titles = ["/".join(path.with_suffix("").parts[-depth:]) for path in paths]
        if len(set(titles)) == len(titles):
            return titles
    counts = Counter(titles)
    return [
        title if counts[title] == 1 else f"{title} ({number})"
        for number, title in enumerate(titles, start=1)
    ]
