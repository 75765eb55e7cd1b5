"""The local outlier factor of each lesion among those of its patient (Breunig et al. 2000)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.stack.features.patients import Array, Patients

#: As the first place of ISIC 2024 has it.
NEIGHBOURS = 30
#: A lesion looks for neighbours among at most this many of its patient, so that a row costs the
#: same whether the patient has a thousand lesions or ten thousand.
REFERENCE = 1024
#: With fewer lesions there is no density to speak of.
_FEWEST = 4
_ROWS = 2048


def outlier_factors(points: Array, patients: Patients) -> Array:
    """Return the factor of each row: about 1 among its like, more for a lesion that stands apart.

    Parameters
    ----------
    points : (n, d) float64
        Patient's z-scores, so that all columns count alike; NaN counts as 0, the patient's mean.
    patients : Patients

    Returns
    -------
    (n,) float64
        1 for patients with fewer than four lesions, and for lesions that equal their neighbours.
    """
    found = np.ones(len(points))
    clean = np.nan_to_num(points).astype(np.float32)
    for start, size in zip(patients.starts.tolist(), patients.sizes.tolist(), strict=True):
        if size >= _FEWEST:
            found[start : start + size] = _factors(clean[start : start + size])
    return found


def _factors(points: NDArray[np.float32]) -> Array:
    chosen = _reference(points)
    count = min(NEIGHBOURS, len(chosen) - 1)
    place = np.full(len(points), -1)
    place[chosen] = np.arange(len(chosen))
    reference = points[chosen]
    near = np.empty((len(points), count), np.int64)
    away = np.empty((len(points), count))
    for begin in range(0, len(points), _ROWS):
        rows = slice(begin, min(begin + _ROWS, len(points)))
        near[rows], away[rows] = _nearest(points[rows], reference, place[rows], count)
    # Reach: how far the farthest of its own neighbours lies, at least.
    reach = away.max(axis=1)[chosen]
    reachable = np.maximum(away, reach[near])
    density = 1.0 / (reachable.mean(axis=1) + 1e-6)
    return density[chosen][near].mean(axis=1) / density


def _reference(points: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the rows among which neighbours are sought, whatever the order of the rows."""
    if len(points) <= REFERENCE:
        return np.arange(len(points))
    order = np.lexsort(points.T)
    return np.sort(order[np.arange(REFERENCE) * len(points) // REFERENCE])


def _nearest(
    points: NDArray[np.float32],
    reference: NDArray[np.float32],
    own: NDArray[np.int64],
    count: int,
) -> tuple[NDArray[np.int64], Array]:
    """Return the `count` nearest reference rows of each point but itself, and how far they are."""
    square = (points**2).sum(axis=1)[:, None] - 2 * points @ reference.T
    square += (reference**2).sum(axis=1)
    inside = np.flatnonzero(own >= 0)
    square[inside, own[inside]] = np.inf
    near = np.argpartition(square, count - 1, axis=1)[:, :count]
    found = np.take_along_axis(square, near, axis=1)
    return near, np.sqrt(np.maximum(found, 0)).astype(np.float64)
