"""Calibration in two numbers: are probabilities right on the whole, and too bold or too timid.

The second level of the hierarchy of Van Calster et al., Journal of Clinical Epidemiology 2016: a
logistic regression of the label on the logit of the probability.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from lesioncore.metrics.bootstrap import Interval, group_codes
from lesioncore.metrics.checks import FloatArray, probabilities

#: Probabilities nearer to 0 or 1 than this count as this far away: their logit is not finite.
EDGE = 1e-6
_STEPS = 50


@dataclass(frozen=True)
class CalibrationLine:
    """How far labels follow the probabilities.

    Attributes
    ----------
    intercept : Interval
        Added to every logit to be right on the whole, the slope kept at 1. 0 is right; below 0
        the probabilities are too high.
    slope : Interval
        Of the logit, with an intercept of its own. 1 is right; below 1 the probabilities are too
        extreme, above 1 too timid.
    """

    intercept: Interval
    slope: Interval


def calibration_line(
    y: npt.ArrayLike,
    p: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    *,
    level: float = 0.95,
) -> CalibrationLine:
    """Return intercept and slope of probabilities `p` (n,) with their intervals.

    Parameters
    ----------
    groups : (n,), optional
        Patient or lesion of each row; the variance is robust to what is alike within a group.
        Left out, rows count as independent.
    level : float in (0, 1)
        Of the normal intervals.

    Returns
    -------
    CalibrationLine
        NaN with one class or one group, where all probabilities are alike (slope), or where they
        separate the classes.

    Raises
    ------
    LesionError
        A value of `p` is not a probability.
    """
    labels, chance = probabilities(y, p)
    undefined = Interval(float("nan"), float("nan"), float("nan"))
    if not 0 < labels.sum() < len(labels):
        return CalibrationLine(undefined, undefined)
    inside = np.clip(chance, EDGE, 1 - EDGE)
    logits = np.log(inside / (1 - inside))
    codes, _ = group_codes(groups, len(labels))
    quantile = NormalDist().inv_cdf((1 + level) / 2)
    ones = np.ones((len(labels), 1))
    intercept = _fit(ones, labels, logits, codes, quantile) or undefined
    if np.ptp(logits) == 0:
        return CalibrationLine(intercept, undefined)
    away = logits - logits.mean()  # around their mean the two numbers do not pull at one another
    slope = _fit(np.c_[ones, away], labels, np.zeros(len(labels)), codes, quantile)
    return CalibrationLine(intercept, slope or undefined)


def _fit(
    design: FloatArray,
    labels: FloatArray,
    offset: FloatArray,
    codes: npt.NDArray[np.int64],
    quantile: float,
) -> Interval | None:
    """Return the last coefficient of a logistic regression, None where Newton finds no end."""
    mean = float(labels.mean())
    beta = np.zeros(design.shape[1])
    beta[0] = 0.0 if offset.any() else math.log(mean / (1 - mean))
    for _ in range(_STEPS):
        chance = 0.5 + 0.5 * np.tanh((offset + design @ beta) / 2)
        gap = labels - chance
        information = design.T @ (design * (chance * (1 - chance))[:, None])
        try:
            step = np.linalg.solve(information, design.T @ gap)
        except np.linalg.LinAlgError:
            return None
        # A long step from far away overshoots into where every chance is 0 or 1.
        beta = beta + step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-300))
        if np.abs(step).max() < 1e-10:
            break
    else:
        return None
    value = float(beta[-1])
    groups = int(codes.max()) + 1
    if groups < 2:
        return Interval(value, float("nan"), float("nan"))
    sums = np.stack([np.bincount(codes, gap * column, minlength=groups) for column in design.T])
    bread = np.linalg.inv(information)
    variance = (bread @ (sums @ sums.T) @ bread)[-1, -1] * groups / (groups - 1)
    half = quantile * float(np.sqrt(variance))
    return Interval(value, value - half, value + half)
