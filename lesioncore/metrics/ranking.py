"""How well scores order malignant lesions above benign ones. Pure NumPy.

All functions take labels `y` (n,) of 0 and 1 and scores `s` (n,), higher = more malignant, on any
scale; ties count half, as in the trapezoidal ROC curve. Where a class is missing the value is NaN,
never an error: a fold or a subgroup may well have no melanoma.

`weights` is (n,), or (n, B) for B weightings at once, which then gives (B,) values: the bootstrap
passes counts of resampled rows, and the scores are sorted once for all resamples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lesioncore.errors import LesionError
from lesioncore.metrics.checks import (
    FloatArray,
    as_given,
    divide,
    weight_columns,
)
from lesioncore.metrics.sweep import Sweep


def roc_auc(y: npt.ArrayLike, s: npt.ArrayLike, *, weights: npt.ArrayLike | None = None) -> Any:
    """Return the area under the ROC curve, in [0, 1]; NaN with one class."""
    return as_given(area_of(*_curve(y, s, weights, bends=False)), weights)


def area_of(tps: FloatArray, fps: FloatArray) -> FloatArray:
    """Return the area (B,) under the curve of cumulated positives (m, B) of a `Sweep`."""
    area = (np.diff(fps, axis=0) * (tps[1:] + tps[:-1])).sum(axis=0) / 2
    return divide(area, tps[-1] * fps[-1])


def partial_auc(
    y: npt.ArrayLike,
    s: npt.ArrayLike,
    min_tpr: float = 0.8,
    *,
    weights: npt.ArrayLike | None = None,
) -> Any:
    """Return the ISIC 2024 partial AUC: the area of the ROC curve above a true positive rate.

    Parameters
    ----------
    min_tpr : float in [0, 1)
        Sensitivity below which nothing counts. The competition used 0.8.

    Returns
    -------
    float in [0, 1 - min_tpr]
        The raw area, not rescaled: 0.2 is perfect and 0.02 is chance at `min_tpr` 0.8. NaN with
        one class.

    Notes
    -----
    The official metric flips labels and scores and takes scikit-learn's partial AUC up to a false
    positive rate of `1 - min_tpr`, with linear interpolation at that point. That area is computed
    here directly: benign lesions found harmless, over malignant lesions missed.
    """
    return as_given(partial_area_of(*_curve(y, s, weights, bends=False), min_tpr), weights)


def partial_area_of(tps: FloatArray, fps: FloatArray, min_tpr: float) -> FloatArray:
    """Return the area (B,) above `min_tpr` of cumulated positives (m, B) of a `Sweep`."""
    if not 0 <= min_tpr < 1:
        raise LesionError(f"min_tpr is {min_tpr}", wanted="a true positive rate in [0, 1)")
    limit = abs(1 - min_tpr)
    positives, negatives = tps[-1], fps[-1]
    # From the lowest score up: share of malignant missed (x), share of benign spared (y).
    missed = divide(positives - tps, np.broadcast_to(positives, tps.shape))[::-1]
    spared = divide(negatives - fps, np.broadcast_to(negatives, fps.shape))[::-1]
    left, right = missed[:-1], missed[1:]
    width = right - left
    inside = np.clip(limit - left, 0, width)
    part = np.divide(inside, width, out=np.zeros_like(width), where=width > 0)
    height = spared[:-1] + part * np.diff(spared, axis=0) / 2
    area = (inside * height).sum(axis=0)
    return np.where((positives > 0) & (negatives > 0), area, np.nan)


def average_precision(
    y: npt.ArrayLike, s: npt.ArrayLike, *, weights: npt.ArrayLike | None = None
) -> Any:
    """Return the step-wise area under precision over recall, in [0, 1]; NaN without positives.

    It depends on the prevalence of the rows that it is given: never compare it over data sets.
    """
    return as_given(precision_area_of(*_curve(y, s, weights, bends=True)), weights)


def precision_area_of(tps: FloatArray, fps: FloatArray) -> FloatArray:
    """Return the average precision (B,) of cumulated positives (m, B) of a `Sweep`."""
    called = tps[1:] + fps[1:]
    precision = np.divide(tps[1:], called, out=np.zeros_like(called), where=called > 0)
    area = (np.diff(tps, axis=0) * precision).sum(axis=0)
    return divide(area, tps[-1])


def sensitivity_at(
    y: npt.ArrayLike,
    s: npt.ArrayLike,
    specificity: float = 0.9,
    *,
    weights: npt.ArrayLike | None = None,
) -> Any:
    """Return the best sensitivity of any threshold whose specificity is at least `specificity`.

    Thresholds are the scores themselves; nothing is interpolated. NaN with one class.
    """
    return as_given(best_sensitivity(*_curve(y, s, weights, bends=False), specificity), weights)


def best_sensitivity(tps: FloatArray, fps: FloatArray, specificity: float) -> FloatArray:
    """Return the best sensitivity (B,) of cumulated positives (m, B) at that specificity."""
    allowed = fps <= (1 - specificity) * fps[-1] + 1e-9
    best = np.where(allowed, tps, 0.0).max(axis=0)
    return np.where(fps[-1] > 0, divide(best, tps[-1]), np.nan)


def specificity_at(
    y: npt.ArrayLike,
    s: npt.ArrayLike,
    sensitivity: float = 0.9,
    *,
    weights: npt.ArrayLike | None = None,
) -> Any:
    """Return the best specificity of any threshold whose sensitivity is at least `sensitivity`."""
    return as_given(best_specificity(*_curve(y, s, weights, bends=False), sensitivity), weights)


def best_specificity(tps: FloatArray, fps: FloatArray, sensitivity: float) -> FloatArray:
    """Return the best specificity (B,) of cumulated positives (m, B) at that sensitivity."""
    enough = tps >= sensitivity * tps[-1] - 1e-9
    spared = np.where(enough, fps[-1] - fps, 0.0).max(axis=0)
    return np.where(tps[-1] > 0, divide(spared, fps[-1]), np.nan)


def threshold_for(y: npt.ArrayLike, s: npt.ArrayLike, sensitivity: float = 0.9) -> float:
    """Return the highest threshold at which `s >= threshold` finds `sensitivity` of the positives.

    NaN without positives. Fit it on validation or out-of-fold scores, never on the test list.
    """
    sweep = Sweep.of(y, s)
    tps, _ = sweep.counts(np.ones((sweep.members.shape[1], 1)))
    if tps[-1, 0] == 0:
        return float("nan")
    return float(sweep.thresholds[int(np.argmax(tps[:, 0] >= sensitivity * tps[-1, 0] - 1e-9))])


def roc_curve(y: npt.ArrayLike, s: npt.ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return false positive rates, true positive rates and thresholds, each (m,).

    It starts at (0, 0) with threshold +inf and ends at (1, 1); points on a straight line between
    their neighbours are left out. A class that is missing makes its rates NaN.
    """
    sweep = Sweep.of(y, s, keep_positive_steps=False)
    tps, fps = (counts[:, 0] for counts in sweep.counts(np.ones((sweep.members.shape[1], 1))))
    tpr = divide(tps, np.full(len(tps), tps[-1]))
    fpr = divide(fps, np.full(len(fps), fps[-1]))
    return fpr, tpr, sweep.thresholds


def _curve(
    y: npt.ArrayLike, s: npt.ArrayLike, weights: npt.ArrayLike | None, *, bends: bool
) -> tuple[FloatArray, FloatArray]:
    """Return cumulated positives (m, B); `bends` where positives in a row are no straight line."""
    sweep = Sweep.of(y, s, keep_positive_steps=bends)
    return sweep.counts(weight_columns(weights, sweep.members.shape[1]))
