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
    labels_and_scores,
    weight_columns,
)


def roc_auc(y: npt.ArrayLike, s: npt.ArrayLike, *, weights: npt.ArrayLike | None = None) -> Any:
    """Return the area under the ROC curve, in [0, 1]; NaN with one class."""
    tps, fps, _ = _steps(y, s, weights)
    area = (np.diff(fps, axis=0) * (tps[1:] + tps[:-1])).sum(axis=0) / 2
    return as_given(divide(area, tps[-1] * fps[-1]), weights)


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
    if not 0 <= min_tpr < 1:
        raise LesionError(f"min_tpr is {min_tpr}", wanted="a true positive rate in [0, 1)")
    tps, fps, _ = _steps(y, s, weights)
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
    return as_given(np.where((positives > 0) & (negatives > 0), area, np.nan), weights)


def average_precision(
    y: npt.ArrayLike, s: npt.ArrayLike, *, weights: npt.ArrayLike | None = None
) -> Any:
    """Return the step-wise area under precision over recall, in [0, 1]; NaN without positives.

    It depends on the prevalence of the rows that it is given: never compare it over data sets.
    """
    tps, fps, _ = _steps(y, s, weights, keep_positive_steps=True)
    called = tps[1:] + fps[1:]
    precision = np.divide(tps[1:], called, out=np.zeros_like(called), where=called > 0)
    area = (np.diff(tps, axis=0) * precision).sum(axis=0)
    return as_given(divide(area, tps[-1]), weights)


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
    tps, fps, _ = _steps(y, s, weights)
    allowed = fps <= (1 - specificity) * fps[-1] + 1e-9
    best = np.where(allowed, tps, 0.0).max(axis=0)
    return as_given(np.where(fps[-1] > 0, divide(best, tps[-1]), np.nan), weights)


def specificity_at(
    y: npt.ArrayLike,
    s: npt.ArrayLike,
    sensitivity: float = 0.9,
    *,
    weights: npt.ArrayLike | None = None,
) -> Any:
    """Return the best specificity of any threshold whose sensitivity is at least `sensitivity`."""
    tps, fps, _ = _steps(y, s, weights)
    enough = tps >= sensitivity * tps[-1] - 1e-9
    spared = np.where(enough, fps[-1] - fps, 0.0).max(axis=0)
    return as_given(np.where(tps[-1] > 0, divide(spared, fps[-1]), np.nan), weights)


def threshold_for(y: npt.ArrayLike, s: npt.ArrayLike, sensitivity: float = 0.9) -> float:
    """Return the highest threshold at which `s >= threshold` finds `sensitivity` of the positives.

    NaN without positives. Fit it on validation or out-of-fold scores, never on the test list.
    """
    tps, _, thresholds = _steps(y, s, None, keep_positive_steps=True)
    if tps[-1, 0] == 0:
        return float("nan")
    return float(thresholds[int(np.argmax(tps[:, 0] >= sensitivity * tps[-1, 0] - 1e-9))])


def top_k_sensitivity(
    y: npt.ArrayLike,
    s: npt.ArrayLike,
    patients: npt.ArrayLike,
    k: int = 15,
    *,
    weights: npt.ArrayLike | None = None,
) -> Any:
    """Return the share of malignant lesions among the `k` highest scores of their own patient.

    Parameters
    ----------
    patients : (n,)
        Patient of each row, of any hashable kind.
    k : int
        Lesions a reader would look at for each patient (15 in the ISIC 2024 secondary metric).

    Returns
    -------
    float in [0, 1]
        Pooled over lesions. Where a tie straddles the k-th place, each tied lesion counts by its
        chance of being among them. NaN without positives. `weights` weigh lesions and do not
        change the ranks, so resample whole patients.
    """
    labels, scores = labels_and_scores(y, s)
    _, codes = np.unique(np.asarray(patients).astype(str), return_inverse=True)
    order = np.lexsort((-scores, codes))
    sorted_codes, sorted_scores = codes[order], scores[order]
    place = np.arange(len(order))
    new_patient = np.r_[True, sorted_codes[1:] != sorted_codes[:-1]] if len(order) else place > 0
    first_of_patient = np.maximum.accumulate(np.where(new_patient, place, 0))
    new_tie = new_patient.copy()
    new_tie[1:] |= sorted_scores[1:] != sorted_scores[:-1]
    tie = np.cumsum(new_tie) - 1
    tie_size = np.bincount(tie, minlength=1)[tie]
    tie_start = np.maximum.accumulate(np.where(new_tie, place, 0))
    above = tie_start - first_of_patient
    shown = np.empty(len(order))
    shown[order] = np.clip((k - above) / np.maximum(tie_size, 1), 0, 1)
    columns = weight_columns(weights, len(labels))
    return as_given(divide((labels * shown) @ columns, labels @ columns), weights)


def roc_curve(y: npt.ArrayLike, s: npt.ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return false positive rates, true positive rates and thresholds, each (m,).

    It starts at (0, 0) with threshold +inf and ends at (1, 1); points on a straight line between
    their neighbours are left out. A class that is missing makes its rates NaN.
    """
    tps, fps, thresholds = _steps(y, s, None)
    tpr = divide(tps[:, 0], np.full(len(tps), tps[-1, 0]))
    fpr = divide(fps[:, 0], np.full(len(fps), fps[-1, 0]))
    return fpr, tpr, thresholds


def _steps(
    y: npt.ArrayLike,
    s: npt.ArrayLike,
    weights: npt.ArrayLike | None,
    *,
    keep_positive_steps: bool = False,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return cumulated true and false positives (m, B), from none to all called, and thresholds.

    Neighbouring thresholds that add only negatives become one step, as do those that add only
    positives: the curve is straight there under any weights. Precision is not, hence the option.
    """
    labels, scores = labels_and_scores(y, s)
    columns = weight_columns(weights, len(labels))
    width = columns.shape[1]
    if len(labels) == 0:
        return np.zeros((1, width)), np.zeros((1, width)), np.full(1, np.inf)
    order = np.argsort(-scores, kind="stable")
    labels, scores = labels[order], scores[order]
    starts = np.flatnonzero(np.r_[True, scores[1:] != scores[:-1]])
    ends = np.r_[starts[1:], len(scores)]
    share = np.add.reduceat(labels, starts) / (ends - starts)
    pure = (share == 0) if keep_positive_steps else (share == 0) | (share == 1)
    same = pure[1:] & pure[:-1] & (share[1:] == share[:-1])
    starts = starts[np.r_[True, ~same]]
    last = np.r_[starts[1:], len(scores)] - 1
    sorted_columns = columns[order]
    total = np.add.reduceat(sorted_columns, starts, axis=0)
    # Most rows are negative in triage data: add up the positives alone and subtract.
    positive = np.flatnonzero(labels)
    found = np.zeros_like(total)
    step_of = np.searchsorted(starts, positive, side="right") - 1
    if len(positive):
        first = np.flatnonzero(np.r_[True, step_of[1:] != step_of[:-1]])
        found[step_of[first]] = np.add.reduceat(sorted_columns[positive], first, axis=0)
    zero = np.zeros((1, width))
    tps = np.concatenate([zero, np.cumsum(found, axis=0)])
    fps = np.concatenate([zero, np.cumsum(total - found, axis=0)])
    return tps, fps, np.r_[np.inf, scores[last]]
