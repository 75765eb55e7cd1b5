"""Synthetic images beside real ones: who their parents are, and where they may be used."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from lesioncore.errors import LesionError
from lesioncore.files import PathLike, read_json

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

#: How images are made: a real lesion on other real skin, or drawn by a network.
METHODS = ("transplant", "generate")
MANIFEST, RECORD, LEARNED = "manifest.csv", "synthesis.json", "learned.txt"
#: What a manifest of synthetic images has beside the core columns.
PARENT_COLUMNS = ("synthetic", "parent_donor", "parent_recipient", "learned_from")
_MEND = "lesion synthesize makes such a folder"


def load_synthetic(folder: PathLike) -> pd.DataFrame:
    """Return the checked manifest of a folder made by `lesion synthesize`.

    Parameters
    ----------
    folder : path

    Returns
    -------
    DataFrame
        A manifest (`lesioncore.records`), `source` "synthetic", paths absolute, with the columns
        `synthetic` (one of `METHODS`), `parent_donor` and `parent_recipient` (ids; null for images
        of a network) and `learned_from` (the file of the ids that the network learned from; null
        for transplants).

    Raises
    ------
    LesionError
        No such folder, an unfinished one, or a row without its picture, mask, label or parents.
    """
    from lesioncore.readers import create_reader
    from lesioncore.records import to_text

    home = Path(folder)
    if not (home / RECORD).is_file() or not (home / MANIFEST).is_file():
        unfinished = (home / RECORD).is_file()
        raise LesionError(
            f"the synthesis in {home} has not finished"
            if unfinished
            else f"{home} holds no synthetic images",
            wanted=f"a folder with {MANIFEST} and {RECORD}",
            mend="give its lesion synthesize command again" if unfinished else _MEND,
        )
    if not read_json(home / RECORD).get("complete"):
        raise LesionError(
            f"the synthesis in {home} has not finished",
            mend="give its lesion synthesize command again; it goes on where it stopped",
        )
    table = create_reader("csv", home / MANIFEST).read()
    missing = [name for name in PARENT_COLUMNS if name not in table.columns]
    if missing:
        raise LesionError(f"{home / MANIFEST} has no column {', '.join(missing)}", mend=_MEND)
    for name in PARENT_COLUMNS:
        table[name] = to_text(table[name])
    table["source"] = "synthetic"
    table["learned_from"] = table["learned_from"].map(
        lambda name: str((home / name).absolute()), na_action="ignore"
    )
    _check(table, home)
    return table


def _check(table: pd.DataFrame, home: Path) -> None:
    parents = table["parent_donor"].notna() & table["parent_recipient"].notna()
    files = {name for name in table["learned_from"].dropna().unique() if Path(name).is_file()}
    wrong = {
        f"`synthetic` is not one of {', '.join(METHODS)}": ~table["synthetic"].isin(METHODS),
        "no parents": ~parents & ~table["learned_from"].isin(files),
        "no mask": table["mask"].isna(),
        "`target` is not 1": table["target"] != 1,
    }
    for what, rows in wrong.items():
        if rows.any():
            first = table.loc[rows, "image_id"].iloc[0]
            raise LesionError(
                f"{home / MANIFEST}: {int(rows.sum())} rows with {what} (first: {first})",
                wanted="synthetic malignant images, each with its mask and its parents",
                mend=_MEND,
            )


def usable(synthetic: pd.DataFrame, training_ids: Collection[str]) -> npt.NDArray[np.bool_]:
    """Return which synthetic images a member may learn from: all their parents are in its training.

    An image with a parent elsewhere would bring a validation or test lesion into the training.
    Synthetic images themselves are never validated on.

    Parameters
    ----------
    synthetic : DataFrame
        From `load_synthetic`.
    training_ids : collection of str
        What the member trains on, `lesioncore.splits.member_ids`.

    Returns
    -------
    (n,) bool
    """
    import numpy as np

    ours = set(training_ids)
    inside = {
        name
        for name in synthetic["learned_from"].dropna().unique()
        if set(Path(name).read_text(encoding="utf-8").splitlines()) <= ours
    }
    of_network = synthetic["learned_from"].isin(inside).to_numpy(bool)
    of_parents = (
        synthetic["parent_donor"].isin(ours) & synthetic["parent_recipient"].isin(ours)
    ).to_numpy(bool)
    drawn = synthetic["learned_from"].notna().to_numpy()
    return np.asarray(np.where(drawn, of_network, of_parents), bool)
