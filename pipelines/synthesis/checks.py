"""Are synthetic images like real ones, and are they more than copies? Both in feature space.

The Frechet distance (Heusel et al., NeurIPS 2017) grows when there are few images, so it is always
given beside its floor: the distance between two halves of the real images at the same number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]

_REPEATS = 5
#: Fewer images than this a side say nothing.
MIN_IMAGES = 10


def frechet_distance(a: Features, b: Features) -> float:
    """Return the Frechet distance of two sets of features, (n, F) and (m, F), as of two Gaussians.

    The trace of the square root of the product of the covariances is the sum of the singular
    values of the centred sets' product, so no F x F matrix is ever made.
    """
    first, second = a.astype(np.float64), b.astype(np.float64)
    mean = first.mean(0) - second.mean(0)
    first = (first - first.mean(0)) / np.sqrt(len(first) - 1)
    second = (second - second.mean(0)) / np.sqrt(len(second) - 1)
    cross = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    value = mean @ mean + np.square(first).sum() + np.square(second).sum() - 2 * cross
    return max(0.0, float(value))


def frechet_check(
    synthetic: Features, real: Features, groups: NDArray[Any], seed: int
) -> dict[str, Any]:
    """Return the distance of synthetic to real images beside that of real to real ones.

    Parameters
    ----------
    synthetic, real : (n, F), (m, F) float32
    groups : (m,)
        What must not be on both sides when the real images are halved (lesions, patients).
    seed : int
        Of the halves.

    Returns
    -------
    dict
        `distance` and `floor`, each with `mean` and `sd` over random halves, and `images`, the
        number on each side; with `reason` in their place where there are too few.
    """
    unique = np.unique(groups.astype(str))
    distances, floors, sizes = [], [], []
    for repeat in range(_REPEATS):
        rng = np.random.default_rng([seed, repeat])
        half = np.isin(groups.astype(str), rng.permutation(unique)[: len(unique) // 2])
        left, right = np.flatnonzero(half), np.flatnonzero(~half)
        count = min(len(left), len(right), len(synthetic))
        if count < MIN_IMAGES:
            return {"reason": f"{count} images a side, {MIN_IMAGES} are the least"}
        left, right = rng.permutation(left)[:count], rng.permutation(right)[:count]
        ours = rng.permutation(len(synthetic))[:count]
        floors.append(frechet_distance(real[left], real[right]))
        distances.append(frechet_distance(synthetic[ours], real[left]))
        sizes.append(count)
    return {"distance": _spread(distances), "floor": _spread(floors), "images": min(sizes)}


def _spread(values: list[float]) -> dict[str, float]:
    return {"mean": round(float(np.mean(values)), 3), "sd": round(float(np.std(values)), 3)}


@dataclass(frozen=True)
class Neighbours:
    """Nearest real images.

    Attributes
    ----------
    nearest : (n,) int64
        Row of the real image nearest to each synthetic one.
    distance : (n,) float64
    limit : float
        Below it an image is a copy.
    copies : (n,) bool
    real_median : float
        Of the distances of real images to their nearest of another group.
    """

    nearest: NDArray[np.int64]
    distance: NDArray[np.float64]
    limit: float
    copies: NDArray[np.bool_]
    real_median: float


def nearest_neighbours(
    synthetic: Features, real: Features, groups: NDArray[Any], percentile: float
) -> Neighbours:
    """Return for each synthetic image its nearest real one, and whether it is a copy of it.

    Parameters
    ----------
    synthetic, real : (n, F), (m, F) float32
    groups : (m,)
        Real images of one group (one lesion, one patient) are not compared with each other.
    percentile : float
        Of the real-real nearest distances, 0 to 100; 0 calls nothing a copy.
    """
    codes = np.unique(groups.astype(str), return_inverse=True)[1]
    among = _nearest(real, real, codes)[1]
    nearest, distance = _nearest(synthetic, real)
    among = among[np.isfinite(among)]
    limit = float(np.percentile(among, percentile)) if len(among) and percentile > 0 else 0.0
    median = float(np.median(among)) if len(among) else float("nan")
    return Neighbours(nearest, distance, limit, distance < limit, median)


def _nearest(
    a: Features, b: Features, codes: NDArray[Any] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return row and distance of the nearest of `b` for each of `a`; of another code, if given."""
    rows, distances = [], []
    squares = np.square(b, dtype=np.float64).sum(1)
    for start in range(0, len(a), 512):
        part = a[start : start + 512].astype(np.float64)
        away = np.square(part).sum(1)[:, None] + squares - 2 * part @ b.T.astype(np.float64)
        if codes is not None:
            away[codes[start : start + 512, None] == codes] = np.inf
        best = away.argmin(1)
        rows.append(best)
        distances.append(np.sqrt(np.maximum(away[np.arange(len(part)), best], 0)))
    return np.concatenate(rows), np.concatenate(distances)
