"""The threshold swept from all benign to all malignant: scores sorted once, counted many times."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lesioncore.metrics.checks import FloatArray, labels_and_scores

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True)
class Sweep:
    """Rows sorted by falling score and cut into steps, for counts under any weights.

    Attributes
    ----------
    thresholds : (m + 1,) float64, +inf, then the lowest score of each step
    members : (m, n) sparse, 1 where a row belongs to a step
    positives : (m, n) sparse, the same of positive rows alone
    at_cuts : (T,) int64, number of steps whose scores are at or above each of the cuts
    """

    thresholds: FloatArray
    members: csr_array
    positives: csr_array
    at_cuts: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls,
        y: npt.ArrayLike,
        s: npt.ArrayLike,
        *,
        keep_positive_steps: bool = True,
        cuts: npt.ArrayLike = (),
    ) -> Sweep:
        """Return the sweep of labels `y` (n,) and scores `s` (n,).

        Parameters
        ----------
        keep_positive_steps : bool
            Neighbouring thresholds that add only negatives always become one step: no curve bends
            there, under any weights. Those that add only positives do so on a ROC curve, where
            they are a straight line, but not where precision counts.
        cuts : (T,)
            Thresholds at which the counts are wanted as well, calling `s >= cut`.
        """
        labels, scores = labels_and_scores(y, s)
        wanted = np.asarray(cuts, dtype=np.float64).reshape(-1)
        rows = len(labels)
        order = np.argsort(-scores, kind="stable")
        labels, scores = labels[order], scores[order]
        starts = np.flatnonzero(np.diff(scores, prepend=np.inf) != 0) if rows else order
        ends = np.r_[starts[1:], rows]
        share = np.add.reduceat(labels, starts) / (ends - starts) if rows else labels
        pure = (share == 0) if keep_positive_steps else (share == 0) | (share == 1)
        same = pure[1:] & pure[:-1] & (share[1:] == share[:-1])
        called = np.searchsorted(-scores, -wanted, side="right")
        if rows:
            starts = np.union1d(starts[np.r_[True, ~same]], called[called < rows])
        places = np.flatnonzero(labels)
        return cls(
            thresholds=np.r_[np.inf, scores[np.r_[starts[1:], rows] - 1]]
            if rows
            else np.full(1, np.inf),
            members=_steps(order, starts, rows),
            positives=_steps(order[places], np.searchsorted(places, starts), rows),
            at_cuts=np.searchsorted(starts, called),
        )

    def grouped(self, member_of: csr_array) -> Sweep:
        """Return the sweep whose weights are those of groups, given (n, G) of what is in which."""
        return replace(self, members=self.members @ member_of, positives=self.positives @ member_of)

    def counts(self, columns: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return cumulated true and false positives, (m + 1, B), from none to all called.

        Parameters
        ----------
        columns : (n, B) float64
            Weights of the rows, in the order in which they were given to `of`; of the groups after
            `grouped`.
        """
        total = np.zeros((len(self.thresholds), columns.shape[1]))
        found = np.zeros_like(total)
        np.cumsum(self.members @ columns, axis=0, out=total[1:])
        np.cumsum(self.positives @ columns, axis=0, out=found[1:])
        return found, total - found


def _steps(
    sorted_rows: npt.NDArray[np.int64], starts: npt.NDArray[np.int64], rows: int
) -> csr_array:
    """Return the sparse (m, rows) of ones that adds up runs of `sorted_rows` from each start."""
    from scipy.sparse import csr_array

    ends = np.r_[starts, len(sorted_rows)] if len(starts) else np.zeros(1, dtype=np.int64)
    ones = np.ones(len(sorted_rows))
    return csr_array((ones, sorted_rows, ends), shape=(len(starts), rows))
