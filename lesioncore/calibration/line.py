"""The straight line in logits that fits labels best: what temperature and Platt scaling share."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from lesioncore.errors import LesionError
from lesioncore.metrics.checks import FloatArray

#: A slope outside is no calibration: below, the scores say nothing; above, they are separated.
SLOPES = (0.01, 100.0)


def fit_line(
    logits: FloatArray, targets: FloatArray, weights: FloatArray, *, intercept: bool
) -> tuple[float, float]:
    """Return slope and intercept of the least cross-entropy, the slope within `SLOPES`.

    Parameters
    ----------
    logits, targets, weights : (n,) float64
        Targets in [0, 1], weights at least 0.
    intercept : bool
        Without it the line goes through 0.

    Raises
    ------
    LesionError
        No weight at all.
    """
    total = float(weights.sum())
    if not total > 0:
        raise LesionError("no rows to calibrate on", wanted="labels and scores")
    # Around their mean, slope and intercept do not pull at one another.
    middle = float(weights @ logits) / total if intercept else 0.0
    away = logits - middle
    part = weights / total

    def loss(line: FloatArray) -> tuple[float, FloatArray]:
        z = line[0] * away + (line[1] if intercept else 0.0)
        gap = part * (expit(z) - targets)
        slopes = np.array([gap @ away, gap.sum()])
        return float(part @ (np.logaddexp(0, z) - targets * z)), slopes[: len(line)]

    mean = float(np.clip(part @ targets, 1e-9, 1 - 1e-9))
    start = [1.0, np.log(mean / (1 - mean))] if intercept else [1.0]
    bounds = [SLOPES, (None, None)][: len(start)]
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds,
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 500},
    )  # fmt: skip
    slope = float(found.x[0])
    return slope, float(found.x[1]) - slope * middle if intercept else 0.0
