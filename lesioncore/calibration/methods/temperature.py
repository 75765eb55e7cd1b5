"""Temperature scaling: one number that makes a network less sure, or more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from lesioncore.calibration.calibrator import CALIBRATORS, Calibrator, to_logit
from lesioncore.calibration.line import fit_line
from lesioncore.metrics.checks import FloatArray, probabilities


@CALIBRATORS.register("temperature")
@dataclass(frozen=True)
class Temperature(Calibrator):
    """The logit divided by a temperature; a score of one half stays one half.

    It mends a network that is too sure, not one that learned at another prevalence.

    Parameters
    ----------
    temperature : float
        More than 0; above 1 the scores were too sure.

    Notes
    -----
    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """

    temperature: float

    flexibility = 1
    least = 10

    @classmethod
    def fit(
        cls, labels: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike | None = None
    ) -> Self:
        """Return the temperature of the least cross-entropy."""
        y, s = probabilities(labels, scores)
        given = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
        slope, _ = fit_line(to_logit(s), y, given, intercept=False)
        return cls(1 / slope)

    def __call__(self, scores: npt.ArrayLike) -> FloatArray:
        """Return the probability of each score."""
        return np.asarray(expit(to_logit(scores) / self.temperature), np.float64)
