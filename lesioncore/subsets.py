"""Which images of an archive a command looks at: the test list, or what a run did with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lesioncore.errors import LesionError, UsageError
from lesioncore.files import read_json, read_table
from lesioncore.holdout import test_ids
from lesioncore.runs import OUT_OF_FOLD
from lesioncore.splits import member_count, read_split

if TYPE_CHECKING:
    import pandas as pd


def run_split(weights: Path | None) -> pd.DataFrame | None:
    """Return the split of the run folder `weights`; None where it is something else."""
    path = None if weights is None else Path(weights) / "split.csv"
    return read_split(path) if path is not None and path.is_file() else None


def _dataset_of(weights: Path | None) -> str | None:
    path = None if weights is None else Path(weights) / "run.json"
    return read_json(path)["config"]["dataset"] if path is not None and path.is_file() else None


def split_ids(split: pd.DataFrame, subset: str) -> set[str]:
    """Return the ids that a run validated on ("validation") or learned from ("train").

    With folds every training image is both, for different members.
    """
    rows = split[split["role"] == "train"]
    if member_count(split) == 1:
        rows = rows[rows["fold"] == (0 if subset == "validation" else 1)]
    return set(rows["image_id"].astype(str))


def validated_ids(weights: Path, split: pd.DataFrame) -> set[str]:
    """Return the ids that a run validated on: those of its out-of-fold table, else of its split.

    A run that started from other weights leaves out what those had learned from.
    """
    chosen = split_ids(split, "validation")
    path = Path(weights) / OUT_OF_FOLD
    if path.is_file():
        chosen &= set(read_table(path, dtype={"image_id": str})["image_id"])
    return chosen


def choose_subset(
    manifest: pd.DataFrame,
    subset: str,
    *,
    dataset: str,
    test_list: str = "auto",
    weights: Path | None = None,
) -> pd.DataFrame:
    """Return the rows of a subset.

    Parameters
    ----------
    manifest : DataFrame
    subset : {"test", "validation", "train", "all"}
        `test` is what was held back; `validation` and `train` are what the run validated on and
        learned from; `all` is every image.
    dataset, test_list : str
        As of `lesioncore.holdout.test_ids`, but "auto" is what the run itself held back where it
        was trained on this dataset: it may have been given a list of its own.
    weights : path, optional
        The run folder.

    Raises
    ------
    UsageError
        What a run did is asked for, and `weights` is no run folder.
    LesionError
        None of the images is in the subset.
    """
    if subset == "all":
        return manifest
    split = run_split(weights)
    if subset == "test":
        own = split is not None and test_list == "auto" and _dataset_of(weights) == dataset
        if split is not None and own:
            chosen = set(split.loc[split["role"] == "test", "image_id"].astype(str))
            what = f"{weights} kept back none of these {len(manifest)} images"
        else:
            chosen = test_ids(manifest, dataset, test_list)
            what = f"the test list holds none of these {len(manifest)} images"
    else:
        if split is None:
            raise UsageError(
                f"{weights or 'what ships'} is no run folder: its {subset} images are unknown",
                wanted="--weights with the run that they belong to",
                mend="--subset test, or all",
            )
        if subset == "validation" and weights is not None:
            chosen = validated_ids(weights, split)
        else:
            chosen = split_ids(split, subset)
        verb = "validated on" if subset == "validation" else "learned from"
        what = f"{weights} {verb} none of these {len(manifest)} images"
    rows = manifest[manifest["image_id"].astype(str).isin(chosen)].reset_index(drop=True)
    if rows.empty:
        raise LesionError(what, mend="--subset all, another --root, or a larger --limit")
    return rows
