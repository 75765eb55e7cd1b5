"""DeLong's variance of the AUC and his test of two AUCs on the same rows.

DeLong, DeLong & Clarke-Pearson, Biometrics 1988, by the ranks of Sun & Xu, IEEE Signal Processing
Letters 2014, which need n log n steps. Rows of one patient are no independent evidence: with
`groups` the variance is that of Obuchowski, Biometrics 1997, which equals DeLong's where every
group is one row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from lesioncore.metrics.bootstrap import group_codes
from lesioncore.metrics.checks import FloatArray, labels_and_scores


@dataclass(frozen=True)
class AucTest:
    """Two AUCs on the same rows and what separates them; NaN where it is not defined.

    Attributes
    ----------
    auc_a, auc_b : float in [0, 1]
    value : float, auc_a - auc_b
    low, high : float, normal interval of `value`
    se : float, standard error of `value`
    z : float, value / se
    p : float, two-sided, of equal AUCs
    """

    auc_a: float
    auc_b: float
    value: float
    low: float
    high: float
    se: float
    z: float
    p: float

    @classmethod
    def between(
        cls, areas: FloatArray, covariance: FloatArray, a: int, b: int, *, level: float = 0.95
    ) -> AucTest:
        """Return the test of models `a` and `b` of what `auc_covariance` gives for several."""
        value = float(areas[a] - areas[b])
        variance = float(covariance[a, a] + covariance[b, b] - 2 * covariance[a, b])
        se = math.sqrt(variance) if variance > 0 else 0.0 * variance  # rounding may go below 0
        half = NormalDist().inv_cdf((1 + level) / 2) * se
        # Equal scores have no variance and no difference; a difference without a variance is one
        # of perfect separation, on which the normal test has nothing to say.
        z = value / se if se > 0 else (0.0 if value == 0 and se == 0 else float("nan"))
        p = math.erfc(abs(z) / math.sqrt(2))
        return cls(float(areas[a]), float(areas[b]), value, value - half, value + half, se, z, p)

    def to_dict(self) -> dict[str, float | None]:
        """Return `value`, `low`, `high`, `z` and `p`; NaN becomes None, which is null in JSON."""
        named = {name: getattr(self, name) for name in ("value", "low", "high", "z", "p")}
        return {name: None if np.isnan(number) else number for name, number in named.items()}


def auc_test(
    y: npt.ArrayLike,
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    *,
    level: float = 0.95,
) -> AucTest:
    """Return the test of `roc_auc(y, a)` against `roc_auc(y, b)`.

    Parameters
    ----------
    y : (n,) of 0 and 1
    a, b : (n,), higher = more malignant, on any scale
    groups : (n,), optional
        Patient or lesion of each row. Left out, rows count as independent.
    level : float in (0, 1)
        Of the interval.
    """
    areas, covariance = auc_covariance(y, np.stack([np.asarray(a), np.asarray(b)]), groups)
    return AucTest.between(areas, covariance, 0, 1, level=level)


def auc_covariance(
    y: npt.ArrayLike, scores: npt.ArrayLike, groups: npt.ArrayLike | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return AUCs (k,) and their covariance (k, k).

    Parameters
    ----------
    y : (n,) of 0 and 1
    scores : (k, n), one row a model
    groups : (n,), optional
        What is independent; left out, each row.

    Returns
    -------
    (ndarray, ndarray)
        NaN with one class; the covariance is NaN with fewer than two groups that have a positive,
        or a negative, row.
    """
    rows = [labels_and_scores(y, one) for one in np.atleast_2d(np.asarray(scores, float))]
    labels = rows[0][0]
    k, positive = len(rows), labels == 1
    m, n = int(positive.sum()), int((~positive).sum())
    if m == 0 or n == 0:
        return np.full(k, np.nan), np.full((k, k), np.nan)
    parts = [_components(positive, one) for _, one in rows]
    areas = np.array([found.mean() for found, _ in parts])
    codes, n_groups = group_codes(groups, len(labels))
    # What each group adds: its positives' and its negatives' distance from the AUC.
    above, below = (
        np.stack([
            np.bincount(codes[side], part - area, minlength=n_groups)
            for part, area in zip((one[which] for one in parts), areas, strict=True)
        ])
        for which, side in enumerate((positive, ~positive))
    )  # fmt: skip
    with_positive = int((np.bincount(codes[positive], minlength=n_groups) > 0).sum())
    with_negative = int((np.bincount(codes[~positive], minlength=n_groups) > 0).sum())
    if min(with_positive, with_negative) < 2:
        return areas, np.full((k, k), np.nan)
    cross = above @ below.T
    covariance = (
        above @ above.T * with_positive / ((with_positive - 1) * m**2)
        + below @ below.T * with_negative / ((with_negative - 1) * n**2)
        + (cross + cross.T) * n_groups / ((n_groups - 1) * m * n)
    )
    return areas, covariance


def _components(positive: npt.NDArray[np.bool_], scores: FloatArray) -> tuple[FloatArray, ...]:
    """Return each positive's share of negatives below it (m,), each negative's of positives
    above it (n,); ties count half."""
    ranks = _midranks(scores)
    m, n = int(positive.sum()), int((~positive).sum())
    found = (ranks[positive] - _midranks(scores[positive])) / n
    spared = 1 - (ranks[~positive] - _midranks(scores[~positive])) / m
    return found, spared


def _midranks(scores: FloatArray) -> FloatArray:
    """Return the rank of each score (n,) from 1 up, tied scores sharing the mean of theirs."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf) != 0)
    sizes = np.diff(np.r_[starts, len(scores)])
    ranks = np.empty(len(scores))
    ranks[order] = np.repeat(starts + (sizes + 1) / 2, sizes)
    return ranks
