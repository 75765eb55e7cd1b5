"""The threshold swept from all benign to all malignant: scores sorted once, counted many times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesioncore.metrics.checks import FloatArray, labels_and_scores

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sweep:
    """Rows sorted by falling score and cut into steps, for counts under any weights.

    Attributes
    ----------
    order : (n,) int64, the rows from the highest score down
    starts : (m,) int64, place in `order` at which each step begins
    thresholds : (m + 1,) float64, +inf, then the lowest score of each step
    positives : (p,) int64, rows that are positive, in their order
    positive_steps : (k,) int64, steps with any positive
    positive_starts : (k,) int64, place in `positives` at which those begin
    at_cuts : (T,) int64, number of steps whose scores are at or above each of the cuts
    """

    order: Indices
    starts: Indices
    thresholds: FloatArray
    positives: Indices
    positive_steps: Indices
    positive_starts: Indices
    at_cuts: Indices

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
        order = np.argsort(-scores, kind="stable")
        labels, scores = labels[order], scores[order]
        if len(labels) == 0:
            none = np.zeros(0, dtype=np.int64)
            at_cuts = np.zeros(len(wanted), dtype=np.int64)
            return cls(order, none, np.full(1, np.inf), none, none, none, at_cuts)
        starts = np.flatnonzero(np.r_[True, scores[1:] != scores[:-1]])
        ends = np.r_[starts[1:], len(scores)]
        share = np.add.reduceat(labels, starts) / (ends - starts)
        pure = (share == 0) if keep_positive_steps else (share == 0) | (share == 1)
        same = pure[1:] & pure[:-1] & (share[1:] == share[:-1])
        called = np.searchsorted(-scores, -wanted, side="right")
        starts = np.union1d(starts[np.r_[True, ~same]], called[called < len(scores)])
        last = np.r_[starts[1:], len(scores)] - 1
        places = np.flatnonzero(labels)
        step_of = np.searchsorted(starts, places, side="right") - 1
        first = np.flatnonzero(np.diff(step_of, prepend=-1))
        return cls(
            order=order,
            starts=starts,
            thresholds=np.r_[np.inf, scores[last]],
            positives=order[places],
            positive_steps=step_of[first],
            positive_starts=first,
            at_cuts=np.searchsorted(starts, called),
        )

    def counts(self, columns: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return cumulated true and false positives, (m + 1, B), from none to all called.

        Parameters
        ----------
        columns : (n, B) float64
            Weights of the rows, in the order in which they were given to `of`.
        """
        total = np.zeros((len(self.starts) + 1, columns.shape[1]))
        found = np.zeros_like(total)
        if len(self.starts):
            np.add.reduceat(columns[self.order], self.starts, axis=0, out=total[1:])
        # Most rows are negative in triage data: add up the positives alone and subtract.
        if len(self.positives):
            found[1 + self.positive_steps] = np.add.reduceat(
                columns[self.positives], self.positive_starts, axis=0
            )
        tps = np.cumsum(found, axis=0)
        return tps, np.cumsum(total, axis=0) - tps
