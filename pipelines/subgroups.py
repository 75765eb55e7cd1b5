"""Scores by sex, age band and site, with intervals, and no claim where there are too few images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lesioncore.metrics import bootstrap, mean, roc_auc
from lesioncore.metrics.bootstrap import Interval

if TYPE_CHECKING:
    import pandas as pd

MINIMUM = 30
MINIMUM_CLASS = 5
_AGE_EDGES = (0, 30, 45, 60, 75, 200)
_AGE_NAMES = ("under 30", "30 to 44", "45 to 59", "60 to 74", "75 and over")
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Cell:
    """A score of a subgroup, or why there is none; positions are per cent of the plotted scale."""

    score: Interval | None
    why: str = ""

    @property
    def claim(self) -> bool:
        """Whether a score may be printed."""
        return self.score is not None


@dataclass(frozen=True)
class SubgroupRow:
    """One subgroup: images with a score of either kind, and malignant ones among the labelled."""

    name: str
    n: int
    malignant: int | None
    dice: Cell
    auc: Cell


def age_band(ages: pd.Series) -> pd.Series:
    """Return the band of each age in years, "unknown" where it is missing."""
    import pandas as pd

    bands = pd.cut(ages.astype(float), list(_AGE_EDGES), right=False, labels=list(_AGE_NAMES))
    return bands.astype(object).where(bands.notna(), UNKNOWN)


def subgroup_table(
    frame: pd.DataFrame, *, n: int = 1000, seed: int = 0
) -> list[tuple[str, list[SubgroupRow]]]:
    """Return the rows of each partition: ("", [all]), ("Sex", [...]), ("Age", ...), ("Site", ...).

    Parameters
    ----------
    frame : DataFrame
        One row an image, with `group`, `age`, `sex`, `site`, and any of `dice` (NaN where there is
        no truth), `label` (1, 0, NaN) and `malignant` (the predicted probability, NaN where none).
    n : int
        Bootstrap draws.
    seed : int
        Seed of the bootstrap.
    """
    blocks: list[tuple[str, list[SubgroupRow]]] = [("", [_row("All", frame, n, seed)])]
    partitions: dict[str, tuple[pd.Series, tuple[str, ...]]] = {
        "Sex": (frame["sex"], ("female", "male")),
        "Age in years": (age_band(frame["age"]), _AGE_NAMES),
        "Site": (frame["site"], ()),
    }
    for name, (values, order) in partitions.items():
        filled = values.astype(object).where(values.notna(), UNKNOWN)
        counts = filled.value_counts()
        if set(counts.index) <= {UNKNOWN}:
            continue
        names = [one for one in (*order, *sorted(counts.index, key=_by_size(counts))) if one]
        names = list(dict.fromkeys(one for one in names if one in counts.index and one != UNKNOWN))
        names += [UNKNOWN] if UNKNOWN in counts.index else []
        rows = [_row(str(one), frame[(filled == one).to_numpy()], n, seed) for one in names]
        blocks.append((name, rows))
    return blocks


def _by_size(counts: pd.Series) -> Callable[[Any], tuple[int, str]]:
    return lambda name: (-int(counts[name]), str(name))


def _row(name: str, frame: pd.DataFrame, n: int, seed: int) -> SubgroupRow:
    dice = frame["dice"].to_numpy(float) if "dice" in frame else np.full(len(frame), np.nan)
    scored = np.full(len(frame), np.nan)
    if "label" in frame and "malignant" in frame:
        scored = frame["malignant"].to_numpy(float)
        scored = np.where(frame["label"].notna().to_numpy(), scored, np.nan)
    groups = frame["group"].to_numpy()
    known = frame["label"].notna().any() if "label" in frame else False
    return SubgroupRow(
        name=name,
        n=len(frame),
        malignant=int((frame["label"] == 1).sum()) if known else None,
        dice=_dice_cell(dice, groups, n, seed),
        auc=_auc_cell(frame, scored, groups, n, seed),
    )


def _dice_cell(dice: Any, groups: Any, n: int, seed: int) -> Cell:
    has = ~np.isnan(dice)
    if not has.any():
        return Cell(None, "no true masks")
    if has.sum() < MINIMUM:
        return Cell(None, f"n = {has.sum()}: too few")
    return Cell(bootstrap(mean, dice[has], groups=groups[has], n=n, seed=seed))


def _auc_cell(frame: pd.DataFrame, scored: Any, groups: Any, n: int, seed: int) -> Cell:
    has = ~np.isnan(scored)
    if not has.any():
        return Cell(None, "no labels")
    labels = frame["label"].to_numpy(float)[has]
    positives = int((labels == 1).sum())
    negatives = int((labels == 0).sum())
    if has.sum() < MINIMUM:
        return Cell(None, f"n = {has.sum()}: too few")
    if min(positives, negatives) < MINIMUM_CLASS:
        few, kind = min((positives, "malignant"), (negatives, "benign"))
        return Cell(None, f"{few} {kind}: too few")
    return Cell(bootstrap(roc_auc, labels, scored[has], groups=groups[has], n=n, seed=seed))
