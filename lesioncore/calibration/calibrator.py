"""What every map from scores to probabilities can do, and the maps by name."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.special import logit

from lesioncore.metrics.checks import FloatArray
from lesioncore.registry import Registry

#: Scores this near to 0 and 1 have the logit of this one: -27.6 and 27.6.
CLIP = 1e-12


class Calibrator(ABC):
    """A map from scores to probabilities that never falls; a frozen dataclass of its parameters.

    Scores are probabilities of malignancy in [0, 1] that need not mean what they say.

    Attributes
    ----------
    name : str
        In the registry and in files.
    flexibility : int
        How much it can bend: simpler ones have less.
    least : int
        Cases (groups) of the rarer class below which it is not chosen by itself.
    keeps_order : bool
        Whether different scores stay different, so that no ranking metric moves.
    """

    name: ClassVar[str]
    flexibility: ClassVar[int]
    least: ClassVar[int]
    keeps_order: ClassVar[bool] = True

    @classmethod
    @abstractmethod
    def fit(
        cls, labels: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike | None = None
    ) -> Self:
        """Return the map that fits labels (n,) of 0 and 1 to scores (n,), by weights (n,) >= 0."""

    @abstractmethod
    def __call__(self, scores: npt.ArrayLike) -> FloatArray:
        """Return the probability of each score, (n,) to (n,) float64 in [0, 1]."""

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters as plain values."""
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the map that `to_dict` gave."""
        return cls(**values)


CALIBRATORS: Registry[Calibrator] = Registry("calibration", "lesioncore.calibration.methods")


def calibrator_class(name: str) -> type[Calibrator]:
    """Return the map called `name`; an unknown one is a `UsageError` that lists the known."""
    return CALIBRATORS[name]


def calibrators() -> list[type[Calibrator]]:
    """Return all maps, the least flexible first."""
    return sorted(map(calibrator_class, CALIBRATORS.names()), key=lambda kind: kind.flexibility)


def to_logit(probabilities: npt.ArrayLike) -> FloatArray:
    """Return ln(p / (1 - p)), with p kept at least `CLIP` off 0 and 1."""
    given = np.asarray(probabilities, np.float64)
    return np.asarray(logit(np.clip(given, CLIP, 1 - CLIP)), np.float64)


def smoothed_targets(labels: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the targets of Platt 1999 in place of 1 and 0: (N+ + 1)/(N+ + 2) and 1/(N- + 2).

    They are what a uniform prior makes of the labels, and keep probabilities off 0 and 1.
    """
    positives = float(weights @ labels)
    negatives = float(weights.sum()) - positives
    return np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
