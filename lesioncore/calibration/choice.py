"""Which map: the one that is best on rows it was not fitted on, grouped by patient or lesion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lesioncore.calibration.calibrator import Calibrator, calibrator_class, calibrators
from lesioncore.config import CalibrationMethod
from lesioncore.metrics.checks import FloatArray
from lesioncore.stratification import deal

FOLDS = 5


@dataclass(frozen=True)
class Choice:
    """The map that was chosen and why.

    Attributes
    ----------
    kind : type of Calibrator
    held_out : (n,) float64 or None
        The probability of each row by a map of that kind that was fitted on the other folds.
    fold : (n,) int64 or None
        Fold of each row; None where there are too few groups to make two.
    losses : dict
        For each kind that was tried `log_loss` (mean over rows, cross-fitted), `behind` (how much
        more than the best) and `error` (standard error of that, by group).
    notes : tuple of str
    """

    kind: type[Calibrator]
    held_out: FloatArray | None
    fold: npt.NDArray[np.int64] | None
    losses: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def cases(labels: FloatArray, groups: npt.NDArray[Any]) -> tuple[int, int]:
    """Return how many groups hold a benign row and how many a malignant one."""
    benign, malignant = (len(np.unique(groups[labels == label])) for label in (0, 1))
    return benign, malignant


def make_folds(
    labels: FloatArray, groups: npt.NDArray[Any], seed: int = 0
) -> npt.NDArray[np.int64] | None:
    """Return the fold of each row, whole groups and both classes in each; None where two fail."""
    count = min(FOLDS, *cases(labels, groups))
    if count < 2:
        return None
    return deal(groups, labels, np.full(count, 1 / count), seed, strict=False)


def cross_fitted(
    kind: type[Calibrator],
    labels: FloatArray,
    scores: FloatArray,
    fold: npt.NDArray[np.int64],
) -> FloatArray:
    """Return the probability of each row, (n,), by a map fitted on the other folds."""
    found = np.empty(len(labels))
    for number in np.unique(fold):
        inside = fold == number
        found[inside] = kind.fit(labels[~inside], scores[~inside])(scores[inside])
    return found


def row_losses(labels: FloatArray, probabilities: FloatArray) -> FloatArray:
    """Return the cross-entropy of each row in nats, (n,); probabilities are kept 1e-12 off 0, 1."""
    of_truth = np.where(labels == 1, probabilities, 1 - probabilities)
    return -np.log(np.clip(of_truth, 1e-12, 1.0))


def choose(
    labels: FloatArray,
    scores: FloatArray,
    groups: npt.NDArray[Any],
    method: CalibrationMethod = "auto",
    *,
    seed: int = 0,
) -> Choice:
    """Return the map to use.

    "auto" takes the least cross-fitted log loss among those that have enough cases of the rarer
    class. One that ties scores must be better than the best of the others by more than the standard
    error of the difference, by group: it costs ranks, and must be worth it.

    Parameters
    ----------
    labels, scores : (n,) float64
        Checked.
    groups : (n,) str
    method : str
        "auto" or the name of one, which is taken whatever its loss.
    seed : int
        Of the folds.
    """
    enough = min(cases(labels, groups))
    fold = make_folds(labels, groups, seed)
    if method == "auto":
        tried = [kind for kind in calibrators() if kind.least <= enough]
        lacking = [kind for kind in calibrators() if kind.least > enough]
    else:
        named = calibrator_class(method)
        tried = [calibrator_class("none"), named] if method != "none" else [named]
        lacking = [named] if named.least > enough else []
    notes = _few(lacking, enough, method)
    if fold is None:
        # Nothing can be held out, so nothing can be chosen; what was named is done as said.
        kind = tried[-1] if method != "auto" and min(cases(labels, groups)) else tried[0]
        return Choice(kind, None, None, notes=notes)
    held_out = {kind: cross_fitted(kind, labels, scores, fold) for kind in tried}
    losses = {kind: row_losses(labels, chance) for kind, chance in held_out.items()}
    best = min(
        (kind for kind in tried if kind.keeps_order), key=lambda kind: float(losses[kind].mean())
    )
    for kind in tried:
        gain, error = mean_by_group(losses[best] - losses[kind], groups)
        if not kind.keeps_order and gain > error:
            best = kind
    if method != "auto":
        best = tried[-1]
    table = {}
    for kind in tried:
        behind, error = mean_by_group(losses[kind] - losses[best], groups)
        table[kind.name] = {
            "log_loss": float(losses[kind].mean()),
            "behind": behind,
            "error": error,
        }
    return Choice(best, held_out[best], fold, table, notes)


def mean_by_group(values: FloatArray, groups: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the mean of values (n,) and its standard error with whole groups as what is drawn.

    The error of one group is 0, for want of anything to compare.
    """
    _, code = np.unique(groups.astype(str), return_inverse=True)
    mean = float(values.mean())
    sums = np.bincount(code.reshape(-1), values - mean)
    count = len(sums)
    if count < 2:
        return mean, 0.0
    return mean, float(np.sqrt(count / (count - 1) * (sums**2).sum()) / len(values))


def _few(
    lacking: Sequence[type[Calibrator]], cases: int, method: CalibrationMethod
) -> tuple[str, ...]:
    if not lacking:
        return ()
    if method != "auto":
        return (
            f"{method} was asked for and wants {lacking[0].least} cases of each class, here are "
            f"{cases}: look at its interval",
        )
    wants = ", ".join(f"{kind.name} {kind.least}" for kind in lacking)
    return (f"{cases} cases of the rarer class are too few to try all: {wants} wanted",)
