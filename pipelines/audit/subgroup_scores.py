"""Scores of a subgroup, and how far it lies from all others, with honest ends at 0 and 1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lesioncore.metrics import Interval, bootstrap, mean, roc_auc
from pipelines.audit.predictive import enough
from pipelines.report_malignancy import wilson

if TYPE_CHECKING:
    from pipelines.audit.data import AuditData

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Row:
    """A subgroup's scores; None where no claim is made, and then `why` says so.

    `auc_gap` and `found_gap` are this subgroup minus all others; `far` names the gaps whose
    interval, widened for the number of subgroups compared, leaves out 0.
    """

    partition: str
    name: str
    n: int
    positives: int
    auc: Interval | None = None
    found: Interval | None = None
    auc_gap: Interval | None = None
    found_gap: Interval | None = None
    far: tuple[str, ...] = ()
    why: str = ""


class Scorer:
    """Scores subgroups of the rows `taken` of `data` against the rest of them."""

    def __init__(self, data: AuditData, taken: npt.NDArray[np.int64]) -> None:
        assert data.scores is not None
        self.labels, self.scores = data.labels[taken], data.scores[taken]
        self.groups, self.every = data.groups[taken], data.labels
        self.threshold = data.config.threshold
        self.options: Mapping[str, Any] = {"n": data.config.resamples, "seed": data.config.seed}

    def row(
        self, partition: str, name: str, rows: npt.NDArray[np.int64], inside: Flags, compared: int
    ) -> Row:
        """Return a subgroup's row.

        Parameters
        ----------
        rows : (k,) int
            All of its images.
        inside : (n,) bool
            Which of the rows taken are its.
        compared : int
            How many subgroups are compared in all; 0 compares nothing.
        """
        positives = int((self.every[rows] == 1).sum())
        why = enough(self.labels[inside], self.groups[inside])
        if why:
            return Row(partition, name, len(rows), positives, why=why)
        scores = {"AUC": self._auc(inside)}
        if self.threshold is not None:
            scores["sensitivity"] = self._sensitivity(inside)
        gaps: dict[str, Interval] = {}
        far = []
        if compared and not enough(self.labels[~inside], self.groups[~inside]):
            others = {"AUC": self._auc(~inside)}
            if self.threshold is not None:
                others["sensitivity"] = self._sensitivity(~inside)
            gaps = {what: difference(scores[what], others[what]) for what in scores}
            far = [what for what, gap in gaps.items() if is_far(gap, compared)]
        return Row(
            partition, name, len(rows), positives, scores["AUC"], scores.get("sensitivity"),
            gaps.get("AUC"), gaps.get("sensitivity"), tuple(far),
        )  # fmt: skip

    def _auc(self, rows: Flags) -> Interval:
        y, groups = self.labels[rows], self.groups[rows].astype(str)
        found = bootstrap(roc_auc, y, self.scores[rows], groups=groups, **self.options)
        counts = [len(np.unique(groups[y == value])) for value in (0, 1)]
        return with_ends(found, min(counts))

    def _sensitivity(self, rows: Flags) -> Interval:
        ill = rows & (self.labels == 1)
        groups = self.groups[ill].astype(str)
        called = self.scores[ill] >= self.threshold
        found = bootstrap(mean, called, groups=groups, **self.options)
        return with_ends(found, len(np.unique(groups)))


def with_ends(found: Interval, count: int) -> Interval:
    """Return an interval that has a width where the bootstrap gave none.

    Seven of seven found is no proof that all are: whatever is drawn from them is found too. Such an
    interval becomes Wilson's, of `count` independent cases (for an AUC, those of the rarer class).
    """
    if found.high - found.low > 1e-9:
        return found
    low, high = wilson(found.value, count)
    return Interval(found.value, float(low), float(high))


def difference(a: Interval, b: Interval) -> Interval:
    """Return a - b with the interval that follows from both (Zou, Donner, Stat. Med. 27, 2008)."""
    value = a.value - b.value
    low = math.hypot(a.value - a.low, b.high - b.value)
    high = math.hypot(a.high - a.value, b.value - b.low)
    return Interval(value, value - low, value + high)


def is_far(gap: Interval, compared: int) -> bool:
    """Whether a difference of two scores leaves out 0 when one of `compared` looked at.

    The side towards 0 is widened by Bonferroni's rule: of forty subgroups two differ by chance.
    """
    widened = NormalDist().inv_cdf(1 - 0.025 / compared) / NormalDist().inv_cdf(0.975)
    side = gap.value - gap.low if gap.value > 0 else gap.high - gap.value
    return bool(abs(gap.value) > widened * side)
