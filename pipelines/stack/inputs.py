"""From lesions to what a booster learns from, fitted on training rows alone.

Boosting starts at what the image scores say by themselves: a logistic model of their log-odds,
fitted to the training rows. Trees then learn what metadata and context add, and a stack without a
gain stays where the scores were. Without scores it starts at the rate of malignant lesions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesioncore.errors import LesionError, refuse_newer
from lesioncore.progress import log
from pipelines.ensembles.weights import Slopes, fit_slopes
from pipelines.stack.features.rates import CATEGORIES, Rates, cross_fitted
from pipelines.stack.rows import StackRows

Array = NDArray[np.float64]
VERSION = 1
_RATE = "_rate"


@dataclass(frozen=True)
class Matrix:
    """Rows for a booster.

    Attributes
    ----------
    values : (n, F) float32
        NaN where not known.
    start : (n,) float64
        Log-odds at which boosting starts.
    """

    values: NDArray[np.float32]
    start: Array

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Matrix:
        """Return those rows."""
        return Matrix(self.values[rows], self.start[rows])


@dataclass(frozen=True)
class Inputs:
    """How rows become a matrix.

    Attributes
    ----------
    names : tuple of str
        The columns of the matrix: features, then rates of categories.
    rates : tuple of Rates
    start : Slopes
        Of the image scores; without slopes it is one number for all rows.
    """

    names: tuple[str, ...]
    rates: tuple[Rates, ...]
    start: Slopes

    @classmethod
    def fit(
        cls, rows: StackRows, labels: Array, *, start: str = "scores", without: Sequence[str] = ()
    ) -> Inputs:
        """Return the inputs of training rows: features that differ among them, rates, the start."""
        values = rows.features.values
        low, high = _ends(values)
        kept = [n for n, a, b in zip(rows.features.names, low, high, strict=True) if a < b]
        columns = [] if "rates" in without else _categories(rows)
        rates = tuple(Rates.fit(name, rows.manifest[name], labels) for name in columns)
        if not kept and not rates:
            raise LesionError(
                "no feature of the training lesions has two values: there is nothing to learn from",
                wanted="an archive with metadata, --scores or --masks",
            )
        use_scores = start == "scores" and rows.scores.shape[1] > 0
        rate = (labels.sum() + 0.5) / (len(labels) + 1)
        flat = Slopes(float(np.log(rate / (1 - rate))), ())
        begin = fit_slopes(rows.scores, labels) if use_scores else flat
        return cls((*kept, *(one.column + _RATE for one in rates)), rates, begin)

    def matrix(self, rows: StackRows, encoded: Mapping[str, Array] | None = None) -> Matrix:
        """Return the matrix of rows; `encoded` replaces the rates of training rows (`own_rates`).

        A feature that these rows lack is NaN in all of them.
        """
        place = {name: at for at, name in enumerate(rows.features.names)}
        values = np.full((len(rows), len(self.names)), np.nan, np.float32)
        for at, name in enumerate(self.names[: len(self.names) - len(self.rates)]):
            if name in place:
                values[:, at] = rows.features.values[:, place[name]]
        for at, one in enumerate(self.rates, len(self.names) - len(self.rates)):
            if encoded is not None:
                values[:, at] = encoded[one.column]
            elif one.column in rows.manifest:
                values[:, at] = one.encode(rows.manifest[one.column])
        return Matrix(values, self._start(rows))

    def own_rates(
        self, rows: StackRows, labels: Array, folds: NDArray[np.int64]
    ) -> dict[str, Array]:
        """Return the rates of the training rows themselves, each by the folds it is not in."""
        return {
            one.column: cross_fitted(one.column, rows.manifest[one.column], labels, folds)
            for one in self.rates
        }

    def warn_of_missing(self, rows: StackRows) -> None:
        """Say which features of the training these rows do not have at all."""
        there = {*rows.features.names, *(f"{name}{_RATE}" for name in rows.manifest)}
        lost = [name for name in self.names if name not in there]
        if lost:
            log.warning(
                "%d of %d features are missing in every row (first: %s): probabilities are "
                "worse than they were in training",
                len(lost),
                len(self.names),
                ", ".join(lost[:5]),
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `from_dict` reads back."""
        return {
            "version": VERSION,
            "names": list(self.names),
            "rates": [asdict(one) for one in self.rates],
            "start": asdict(self.start),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Inputs:
        """Return the inputs that `to_dict` described; a later version is a `LesionError`."""
        refuse_newer("the inputs of the stack are of version", values["version"], VERSION)
        start = values["start"]
        return cls(
            tuple(values["names"]),
            tuple(Rates(**one) for one in values["rates"]),
            Slopes(float(start["intercept"]), tuple(map(float, start["slopes"]))),
        )

    def _start(self, rows: StackRows) -> Array:
        if self.start.slopes:
            return self.start.log_odds(rows.scores)
        return np.full(len(rows), self.start.intercept)


def _categories(rows: StackRows) -> list[str]:
    return [n for n in CATEGORIES if n in rows.manifest and rows.manifest[n].nunique() > 1]


def _ends(values: NDArray[np.float32]) -> tuple[Array, Array]:
    """Return the least and the greatest known value of each column; NaN where none is known."""
    known = ~np.isnan(values)
    some = known.any(axis=0)
    low = np.where(known, values, np.inf).min(axis=0)
    high = np.where(known, values, -np.inf).max(axis=0)
    return np.where(some, low, np.nan), np.where(some, high, np.nan)
