"""How sure the map itself is: bootstrap refits of it, by group, as an interval at each score."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from lesioncore.calibration.calibrator import CLIP, Calibrator, to_logit
from lesioncore.metrics import resamples
from lesioncore.metrics.checks import FloatArray

LEVEL = 0.95
REFITS = 200
#: Logits at which the interval is kept, at even parts of the fitted scores, and two far outside.
KNOTS = 65


@dataclass(frozen=True)
class Band:
    """An interval of the probability at each score, linear in logits between its knots.

    Attributes
    ----------
    level : float
    logits, low, high : (m,) tuple of float
        Logit of the score, rising, and of both ends of the interval.
    """

    level: float
    logits: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def ends(
        self, scores: npt.ArrayLike, probabilities: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return both ends at scores (n,), never on the wrong side of their probability."""
        at = to_logit(scores)
        low, high = (expit(np.interp(at, self.logits, ends)) for ends in (self.low, self.high))
        return np.minimum(low, probabilities), np.maximum(high, probabilities)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Band:
        """Return the band that `to_dict` gave."""
        return cls(
            float(values["level"]), *(tuple(values[name]) for name in ("logits", "low", "high"))
        )


def fit_band(
    kind: type[Calibrator],
    labels: FloatArray,
    scores: FloatArray,
    groups: npt.NDArray[Any],
    *,
    refits: int = REFITS,
    seed: int = 0,
) -> Band | None:
    """Return the interval of a kind of map.

    It tells how far the fit would move with other patients, not how far one lesion may lie from the
    mean of its like, and not the choice of the kind.

    Parameters
    ----------
    kind : type of Calibrator
    labels, scores : (n,) float64
    groups : (n,) str
        Drawn as a whole.
    refits, seed : int

    Returns
    -------
    Band or None
        None for a map without parameters, and where half of the draws lack a class.
    """
    if kind.name == "none":
        return None
    inner = np.quantile(to_logit(scores), np.linspace(0, 1, KNOTS))
    grid = np.unique(np.concatenate([to_logit([0.0]), inner, to_logit([1.0])]))
    at = np.clip(expit(grid), CLIP, 1 - CLIP)

    def curves(y: FloatArray, s: FloatArray, *, weights: FloatArray) -> FloatArray:
        return np.stack([_curve(kind, y, s, column, at) for column in weights.T])

    drawn = resamples(curves, labels, scores, groups=groups, n=refits, seed=seed)
    drawn = drawn[~np.isnan(drawn).any(axis=1)]
    if 2 * len(drawn) < refits:
        return None
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return Band(LEVEL, *(tuple(map(float, values)) for values in (grid, low, high)))


def _curve(
    kind: type[Calibrator],
    labels: FloatArray,
    scores: FloatArray,
    weights: FloatArray,
    at: FloatArray,
) -> FloatArray:
    """Return the logits of one refit, NaN where its draw has one class alone."""
    used = weights > 0
    if not 0 < labels[used].sum() < used.sum():
        return np.full(len(at), np.nan)
    return to_logit(kind.fit(labels[used], scores[used], weights[used])(at))
