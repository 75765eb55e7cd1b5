"""Platt scaling: a line in logits, which mends both the spread of the scores and their level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from lesioncore.calibration.calibrator import (
    CALIBRATORS,
    Calibrator,
    smoothed_targets,
    to_logit,
)
from lesioncore.calibration.line import fit_line
from lesioncore.metrics.checks import FloatArray, probabilities


@CALIBRATORS.register("platt")
@dataclass(frozen=True)
class Platt(Calibrator):
    """The logit times a slope plus an intercept, fitted to smoothed targets.

    Parameters
    ----------
    slope : float
        More than 0; below 1 the scores were too sure.
    intercept : float
        Above 0 the scores were too low.

    Notes
    -----
    Platt, "Probabilistic outputs for support vector machines", 1999, with its targets; of the logit
    of a probability, since the scores of a network are no margins.
    """

    slope: float
    intercept: float

    flexibility = 2
    least = 20

    @classmethod
    def fit(
        cls, labels: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike | None = None
    ) -> Self:
        """Return the line of the least cross-entropy."""
        y, s = probabilities(labels, scores)
        given = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
        return cls(*fit_line(to_logit(s), smoothed_targets(y, given), given, intercept=True))

    def __call__(self, scores: npt.ArrayLike) -> FloatArray:
        """Return the probability of each score."""
        return np.asarray(expit(self.slope * to_logit(scores) + self.intercept), np.float64)
