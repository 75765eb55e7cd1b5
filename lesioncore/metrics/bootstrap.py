"""Percentile bootstrap intervals, by patient or lesion. Pure NumPy.

Whole groups are drawn with replacement, since the images of one patient are not independent. A
resample is a count for each group, so each row gets a weight and metrics that take `weights` (all
of ours) sort their scores once for all resamples.

Stratification: with `strata`, the groups of each stratum are drawn among themselves, so that every
resample has the same number of groups of each kind. Without it a rare class may be missing from a
resample; such resamples give NaN and are left out of the percentiles.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lesioncore.errors import LesionError
from lesioncore.metrics.checks import FloatArray, as_given, divide, weight_columns

# Rows times resamples held at once: about 32 MiB of weights.
_CHUNK = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A value with its bootstrap interval; NaN where it is not defined."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, draws: FloatArray, level: float = 0.95) -> Interval:
        """Return the percentile interval of `draws` (n,); NaN draws are left out.

        With fewer than half of the draws defined the bounds are NaN: the rest would be a
        selection of lucky resamples.
        """
        good = draws[~np.isnan(draws)]
        if len(good) == 0 or 2 * len(good) < len(draws):
            return cls(float(value), float("nan"), float("nan"))
        low, high = np.quantile(good, [(1 - level) / 2, (1 + level) / 2])
        return cls(float(value), float(low), float(high))

    def to_dict(self) -> dict[str, float | None]:
        """Return `value`, `low` and `high`; NaN becomes None, which is null in JSON."""
        named = {"value": self.value, "low": self.low, "high": self.high}
        return {key: None if np.isnan(number) else number for key, number in named.items()}

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def mean(values: npt.ArrayLike, *, weights: npt.ArrayLike | None = None) -> Any:
    """Return the mean of `values` (n,), for the bootstrap of per-image numbers such as Dice."""
    given = np.asarray(values, dtype=np.float64).reshape(-1)
    columns = weight_columns(weights, len(given))
    return as_given(divide(given @ columns, columns.sum(axis=0)), weights)


def positive_strata(y: npt.ArrayLike, groups: npt.ArrayLike | None = None) -> npt.NDArray[np.int64]:
    """Return 1 for rows (n,) whose group has any positive label, else 0: strata for `bootstrap`."""
    labels = np.asarray(y, dtype=np.float64).reshape(-1)
    codes, n_groups = group_codes(groups, len(labels))
    has = np.zeros(n_groups, dtype=np.int64)
    np.maximum.at(has, codes, (labels == 1).astype(np.int64))
    return has[codes]


def resamples(
    metric: Callable[..., Any],
    *arrays: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    strata: npt.ArrayLike | None = None,
    n: int = 1000,
    seed: int = 0,
) -> FloatArray:
    """Return `metric` on `n` bootstrap resamples, (n,) float64.

    Parameters
    ----------
    metric : callable
        Called as `metric(*arrays, weights=(rows, B))` where it takes `weights`, else once a
        resample on repeated rows.
    *arrays : (rows, ...)
        Arrays with the same first axis.
    groups : (rows,), optional
        What is drawn as a whole: patient, lesion. Left out, each row is its own group.
    strata : (rows,), optional
        Kind of each row's group (the same within a group), see the module's text.
    seed : int
        Same rows, groups, strata, n and seed give the same resamples for any metric, so that
        differences of two results are paired.
    """
    rows = len(np.asarray(arrays[0]))
    if any(len(np.asarray(array)) != rows for array in arrays):
        raise LesionError(
            f"arrays of {[len(np.asarray(array)) for array in arrays]} rows",
            wanted="arrays of one length",
        )
    if rows == 0:
        return np.full(n, np.nan)
    weighted = "weights" in inspect.signature(metric).parameters
    parts: list[FloatArray] = []
    for weights in weightings(rows, groups, strata, n, seed):
        if weighted:
            parts.append(np.asarray(metric(*arrays, weights=weights), dtype=np.float64))
        else:
            index = np.arange(rows)
            counts = weights.astype(np.int64)
            picked = [np.repeat(index, counts[:, b]) for b in range(counts.shape[1])]
            parts.append(
                np.array([metric(*(np.asarray(a)[pick] for a in arrays)) for pick in picked])
            )
    return np.concatenate(parts) if parts else np.zeros(0)


def bootstrap(
    metric: Callable[..., Any],
    *arrays: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    strata: npt.ArrayLike | None = None,
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Return `metric(*arrays)` with its percentile interval at `level`.

    Parameters are those of `resamples`. With fewer than two groups the bounds are NaN.
    """
    value = float(metric(*arrays))
    if group_codes(groups, len(np.asarray(arrays[0])))[1] < 2:
        return Interval(value, float("nan"), float("nan"))
    draws = resamples(metric, *arrays, groups=groups, strata=strata, n=n, seed=seed)
    return Interval.of(value, draws, level)


def paired_bootstrap(
    metric: Callable[..., Any],
    y: npt.ArrayLike,
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    *,
    strata: npt.ArrayLike | None = None,
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Return `metric(y, a) - metric(y, b)` with its interval over resamples that both share.

    For numbers that need no labels (Dice of two segmenters on the same images) give
    `bootstrap(mean, dice_a - dice_b, groups=...)`, which is the same thing.
    """
    value = float(metric(y, a)) - float(metric(y, b))
    if group_codes(groups, len(np.asarray(y)))[1] < 2:
        return Interval(value, float("nan"), float("nan"))
    first = resamples(metric, y, a, groups=groups, strata=strata, n=n, seed=seed)
    second = resamples(metric, y, b, groups=groups, strata=strata, n=n, seed=seed)
    return Interval.of(value, first - second, level)


def group_codes(groups: npt.ArrayLike | None, rows: int) -> tuple[npt.NDArray[np.int64], int]:
    """Return the number of each row's group, 0 to G - 1, and G."""
    if groups is None:
        return np.arange(rows), rows
    named = np.asarray(groups)
    if len(named) != rows:
        raise LesionError(f"{len(named)} groups for {rows} rows", wanted="one group a row")
    # Words are sorted as words whatever they are; numbers, of which codes are, far quicker as such.
    plain = named if named.dtype.kind in "iu" else named.astype(str)
    values, codes = np.unique(plain, return_inverse=True)
    return codes.astype(np.int64).reshape(-1), len(values)


def weightings(
    rows: int,
    groups: npt.ArrayLike | None,
    strata: npt.ArrayLike | None,
    n: int,
    seed: int,
    *,
    of_groups: bool = False,
) -> Iterator[FloatArray]:
    """Yield how often each row is drawn, (rows, B) float64, until `n` resamples are done.

    Parameters are those of `resamples`, which draws the same; use it to give one draw to many
    metrics. `of_groups` yields how often each group is drawn, (G, B), by the codes of
    `group_codes`.
    """
    codes, n_groups = group_codes(groups, rows)
    kind = np.zeros(n_groups, dtype=np.int64)
    if strata is not None:
        kind_of_row, _ = group_codes(strata, rows)
        kind[codes] = kind_of_row
        if (kind[codes] != kind_of_row).any():
            raise LesionError(
                "a group lies in two strata", wanted="strata that are the same within each group"
            )
    members = [np.flatnonzero(kind == value) for value in np.unique(kind)]
    # One stratum fills whole lines at once.
    places: list[Any] = members if len(members) != 1 else [slice(None)]
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK // max(rows, 1))
    for start in range(0, n, step):
        size = min(step, n - start)
        counts = np.empty((size, n_groups))
        for member, place in zip(members, places, strict=True):
            drawn = generator.integers(0, len(member), size=(len(member), size))
            for number, picked in enumerate(drawn.T):
                counts[number, place] = np.bincount(picked, minlength=len(member))
        columns = np.ascontiguousarray(counts.T)
        yield columns if of_groups or groups is None else columns[codes]
