"""No map at all: scores that mean what they say already, or too few cases to say otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from lesioncore.calibration.calibrator import CALIBRATORS, Calibrator
from lesioncore.metrics.checks import FloatArray


@CALIBRATORS.register("none")
@dataclass(frozen=True)
class Unchanged(Calibrator):
    """Every score is its own probability."""

    flexibility = 0
    least = 0

    @classmethod
    def fit(
        cls, labels: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike | None = None
    ) -> Self:
        """Return the map; nothing is learned."""
        return cls()

    def __call__(self, scores: npt.ArrayLike) -> FloatArray:
        """Return the scores."""
        return np.asarray(scores, np.float64)
