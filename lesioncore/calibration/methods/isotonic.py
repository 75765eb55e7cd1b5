"""Isotonic regression: any map that never falls, kept as knots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from lesioncore.calibration.calibrator import CALIBRATORS, Calibrator, smoothed_targets
from lesioncore.metrics.checks import FloatArray, probabilities


@CALIBRATORS.register("isotonic")
@dataclass(frozen=True)
class Isotonic(Calibrator):
    """The best fitting map that never falls, linear between its knots.

    Rows of one score share one probability, that of their mean target. Below the first knot and
    above the last the probability is theirs; targets are smoothed as Platt's, so that it is never 0
    or 1. Different scores may come out the same, which moves ranking metrics a little.

    Parameters
    ----------
    scores : (m,) tuple of float
        Rising.
    probabilities : (m,) tuple of float
        Never falling.

    Notes
    -----
    Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability
    estimates", KDD 2002; fitted by scikit-learn.
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    flexibility = 3
    least = 100
    keeps_order = False

    @classmethod
    def fit(
        cls, labels: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike | None = None
    ) -> Self:
        """Return the map of the least squared error to the smoothed targets."""
        from sklearn.isotonic import IsotonicRegression

        y, s = probabilities(labels, scores)
        given = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
        found = IsotonicRegression().fit(s, smoothed_targets(y, given), sample_weight=given)
        return cls(tuple(map(float, found.X_thresholds_)), tuple(map(float, found.y_thresholds_)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the map that `to_dict` gave, whose lists JSON keeps."""
        return cls(tuple(values["scores"]), tuple(values["probabilities"]))

    def __call__(self, scores: npt.ArrayLike) -> FloatArray:
        """Return the probability of each score."""
        given = np.asarray(scores, np.float64)
        return np.asarray(np.interp(given, self.scores, self.probabilities), np.float64)
