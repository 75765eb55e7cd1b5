"""Decision curves: whether acting on a probability does more good than harm. Pure NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lesioncore.errors import LesionError
from lesioncore.metrics.checks import FloatArray, divide, probabilities, weight_columns
from lesioncore.metrics.sweep import Sweep

#: Close together where malignancy is rare: 0.1 % asks for a threshold far below 1 in 100.
DECISION_THRESHOLDS: tuple[float, ...] = tuple(
    [round(k / 10_000, 4) for k in range(1, 10)]
    + [round(k / 1000, 3) for k in range(1, 10)]
    + [round(k / 200, 3) for k in range(2, 20)]
    + [round(k / 100, 2) for k in range(10, 51)]
)


def net_benefit(
    y: npt.ArrayLike,
    p: npt.ArrayLike,
    thresholds: npt.ArrayLike = DECISION_THRESHOLDS,
    *,
    weights: npt.ArrayLike | None = None,
) -> Any:
    """Return the net benefit of calling every lesion with `p >= threshold` malignant.

    True positives a row, less false positives a row times the odds of the threshold: who would
    biopsy 20 lesions to find one malignant one has a threshold of 1 in 20 and weighs a needless
    biopsy as 1/19 of a missed malignancy (Vickers & Elkin, Medical Decision Making 2006).

    Parameters
    ----------
    p : (n,) in [0, 1]
        Probabilities; an uncalibrated score gets the benefit of its wrong thresholds.
    thresholds : (T,) in (0, 1)

    Returns
    -------
    (T,) float64, or (T, B) with (n, B) weights
        At most the prevalence. Calling no lesion is worth 0, calling all `treat_all`. NaN without
        rows.

    Raises
    ------
    LesionError
        A value of `p` is not a probability, or a threshold not inside (0, 1).
    """
    labels, chance = probabilities(y, p)
    cuts = _inside(thresholds)
    sweep = Sweep.of(labels, chance, cuts=cuts)
    tps, fps = sweep.counts(weight_columns(weights, len(labels)))
    benefit = net_benefit_of(tps, fps, sweep.at_cuts, cuts)
    return benefit if weights is not None and np.ndim(weights) == 2 else benefit[:, 0]


def net_benefit_of(
    tps: FloatArray, fps: FloatArray, at_cuts: npt.NDArray[np.int64], cuts: FloatArray
) -> FloatArray:
    """Return net benefits (T, B) from cumulated positives (m, B) of a `Sweep` with those cuts."""
    odds = (cuts / (1 - cuts))[:, None]
    rows = np.broadcast_to(tps[-1] + fps[-1], (len(cuts), tps.shape[1]))
    return divide(tps[at_cuts] - odds * fps[at_cuts], rows)


def treat_all(prevalence: float, thresholds: npt.ArrayLike = DECISION_THRESHOLDS) -> FloatArray:
    """Return the net benefit (T,) of calling every lesion malignant, at a prevalence in [0, 1]."""
    cuts = _inside(thresholds)
    return prevalence - (1 - prevalence) * cuts / (1 - cuts)


def _inside(thresholds: npt.ArrayLike) -> FloatArray:
    cuts = np.asarray(thresholds, dtype=np.float64).reshape(-1)
    if not ((cuts > 0) & (cuts < 1)).all():
        raise LesionError(
            f"thresholds from {cuts.min():g} to {cuts.max():g}",
            wanted="probabilities above 0 and below 1",
        )
    return cuts
