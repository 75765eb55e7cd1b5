"""Whether a probability means what it says. Pure NumPy; weights as in `ranking`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lesioncore.metrics.checks import (
    FloatArray,
    as_given,
    divide,
    probabilities,
    weight_columns,
)

#: Equal-width bins of [0, 1], as in Guo et al. 2017 ("On Calibration of Modern Neural Networks").
BINS = 15


@dataclass(frozen=True)
class Reliability:
    """One row a bin that holds any probability, from low to high.

    Attributes
    ----------
    predicted : (m,) float64, mean probability of the rows in the bin
    observed : (m,) float64, share of them that is positive
    count : (m,) int64, how many there are
    """

    predicted: FloatArray
    observed: FloatArray
    count: npt.NDArray[np.int64]


def brier(y: npt.ArrayLike, p: npt.ArrayLike, *, weights: npt.ArrayLike | None = None) -> Any:
    """Return the mean squared error of probabilities `p` (n,) in [0, 1]; NaN without rows.

    Raises
    ------
    LesionError
        A value of `p` is not a probability.
    """
    labels, chance = probabilities(y, p)
    columns = weight_columns(weights, len(labels))
    return as_given(divide((labels - chance) ** 2 @ columns, columns.sum(axis=0)), weights)


def ece(
    y: npt.ArrayLike, p: npt.ArrayLike, bins: int = BINS, *, weights: npt.ArrayLike | None = None
) -> Any:
    """Return the expected calibration error of probabilities `p` (n,), in [0, 1].

    Mean over rows of |observed rate - mean probability| of their bin, `bins` of equal width. It is
    never below 0, so noise alone raises it: with few rows even a calibrated model is not at 0.
    At low prevalence most rows share one bin; look at `reliability_curve` as well.
    """
    labels, chance = probabilities(y, p)
    columns = weight_columns(weights, len(labels))
    member = np.zeros((bins, len(labels)))
    member[bin_of(chance, bins), np.arange(len(labels))] = 1.0
    gap = np.abs((member * (labels - chance)) @ columns)
    return as_given(divide(gap.sum(axis=0), columns.sum(axis=0)), weights)


def reliability_curve(
    y: npt.ArrayLike, p: npt.ArrayLike, bins: int = BINS, *, equal_sum: bool = False
) -> Reliability:
    """Return mean probability, observed rate and count of each bin of [0, 1] that is not empty.

    Parameters
    ----------
    equal_sum : bool
        Bins of about the same sum of probabilities, so that each expects as many positives,
        instead of equal width: where malignancy is rare, almost all rows would share one of
        those. Rows of one probability stay together.
    """
    labels, chance = probabilities(y, p)
    code = bin_of(chance, bins)
    if equal_sum and len(chance):
        ordered = np.sort(chance)
        mass = np.cumsum(ordered)
        places = np.searchsorted(mass, mass[-1] * np.arange(1, bins) / bins)
        edges = ordered[np.minimum(places, len(ordered) - 1)]
        code = np.searchsorted(edges, chance, side="right").astype(np.int64)
    count = np.bincount(code, minlength=bins)
    full = count > 0
    return Reliability(
        predicted=np.bincount(code, chance, minlength=bins)[full] / count[full],
        observed=np.bincount(code, labels, minlength=bins)[full] / count[full],
        count=count[full].astype(np.int64),
    )


def bin_of(chance: FloatArray, bins: int) -> npt.NDArray[np.int64]:
    """Return the bin (n,), 0 to bins - 1, of probabilities (n,) in [0, 1]."""
    return np.minimum((chance * bins).astype(np.int64), bins - 1)  # 1.0 belongs to the last bin
