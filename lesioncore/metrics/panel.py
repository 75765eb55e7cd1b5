"""All scores of a model at once: sorted once, and drawn again by one bootstrap for all models."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from lesioncore.errors import LesionError
from lesioncore.metrics import ranking
from lesioncore.metrics.biopsies import called_per_found
from lesioncore.metrics.bootstrap import group_codes, weightings
from lesioncore.metrics.calibration import BINS, bin_of
from lesioncore.metrics.checks import FloatArray, divide, labels_and_scores, probabilities
from lesioncore.metrics.decisions import DECISION_THRESHOLDS, net_benefit_of
from lesioncore.metrics.retrieval import retrieval_parts
from lesioncore.metrics.sweep import Sweep

#: Lesions of a patient that a reader looks at, as in the secondary metric of ISIC 2024.
TOP = 15
NET_BENEFIT = "net_benefit"
#: What two columns give: (n,) of the part and of the whole, whose ratio of sums is the score.
Ratio = tuple[FloatArray, FloatArray]


class Panel:
    """The scores of one model on one set of rows, under any weights of the rows.

    Parameters
    ----------
    y : (n,) of 0 and 1
    s : (n,), higher = more malignant, on any scale
    patients : (n,), optional
        Patient of each row; without it there is no `top15_sensitivity`.
    min_tpr : float in [0, 1)
        Of the partial AUC.
    ratios : mapping of str to (part, whole), optional
        Further scores that are a weighted sum over another, each (n,).

    Attributes
    ----------
    reasons : dict of str to str
        Why scores that want probabilities are not defined, by name.
    """

    def __init__(
        self,
        y: npt.ArrayLike,
        s: npt.ArrayLike,
        patients: npt.ArrayLike | None = None,
        *,
        min_tpr: float = 0.8,
        ratios: Mapping[str, Ratio] | None = None,
    ) -> None:
        labels, scores = labels_and_scores(y, s)
        self.rows = len(labels)
        self.reasons: dict[str, str] = {}
        self._min_tpr = min_tpr
        self._ratios: dict[str, Ratio] = {}
        if patients is not None:
            self._ratios[f"top{TOP}_sensitivity"] = retrieval_parts(labels, scores, patients, TOP)
        try:
            probabilities(labels, scores)
        except LesionError as error:
            self.reasons = dict.fromkeys(("brier", "ece", NET_BENEFIT), error.found)
            self._cuts, gaps = np.zeros(0), np.zeros((0, self.rows))
        else:
            self._cuts = np.asarray(DECISION_THRESHOLDS)
            gaps = np.zeros((BINS, self.rows))
            gaps[bin_of(scores, BINS), np.arange(self.rows)] = labels - scores
            self._ratios["brier"] = ((labels - scores) ** 2, np.ones(self.rows))
        self._ratios |= ratios or {}
        self._bins = len(gaps)
        self._sweep = Sweep.of(labels, scores, cuts=self._cuts)
        both = [column for ratio in self._ratios.values() for column in ratio]
        self._sums = np.vstack([np.ones(self.rows), *gaps, *both])

    def grouped(self, codes: npt.NDArray[np.int64], n_groups: int) -> Panel:
        """Return a panel with groups for rows: `numbers` then takes weights of groups (G, B).

        Parameters
        ----------
        codes : (n,) int64, the group of each row
        """
        from scipy.sparse import csr_array

        shape = (self.rows, n_groups)
        member_of = csr_array((np.ones(self.rows), (np.arange(self.rows), codes)), shape=shape)
        panel = copy.copy(self)
        panel.rows = n_groups
        panel._sweep = self._sweep.grouped(member_of)
        panel._sums = self._sums @ member_of
        return panel

    def numbers(self, columns: FloatArray | None = None) -> dict[str, FloatArray]:
        """Return each score (B,) under weights (n, B); `net_benefit` is (T, B).

        Without weights each row counts once and B is 1. Scores of `reasons` are left out; NaN is
        a score that these rows do not have.
        """
        given = np.ones((self.rows, 1)) if columns is None else columns
        tps, fps = self._sweep.counts(given)
        found = {
            "auc": ranking.area_of(tps, fps),
            "pauc": ranking.partial_area_of(tps, fps, self._min_tpr),
            "average_precision": ranking.precision_area_of(tps, fps),
        }
        for per_cent in (90, 95):
            found[f"sensitivity_at_specificity_{per_cent}"] = ranking.best_sensitivity(
                tps, fps, per_cent / 100
            )
        for per_cent in (90, 95):
            found[f"specificity_at_sensitivity_{per_cent}"] = ranking.best_specificity(
                tps, fps, per_cent / 100
            )
        for per_cent in (80, 90):
            found[f"number_needed_to_biopsy_{per_cent}"] = called_per_found(
                tps, fps, per_cent / 100
            )
        sums = self._sums @ given
        total, gaps, rest = sums[0], sums[1 : 1 + self._bins], sums[1 + self._bins :]
        if self._bins:
            found["ece"] = divide(np.abs(gaps).sum(axis=0), total)
            found[NET_BENEFIT] = net_benefit_of(tps, fps, self._sweep.at_cuts, self._cuts)
        for place, name in enumerate(self._ratios):
            found[name] = divide(rest[2 * place], rest[2 * place + 1])
        return found


def resampled(
    panels: Mapping[str, Panel],
    groups: npt.ArrayLike | None = None,
    *,
    strata: npt.ArrayLike | None = None,
    n: int = 1000,
    seed: int = 0,
    watch: Callable[[Iterable[FloatArray]], Iterable[FloatArray]] = iter,
) -> dict[str, dict[str, FloatArray]]:
    """Return each score of each panel on `n` resamples that all panels share, (n,) or (T, n).

    Parameters
    ----------
    panels : mapping of str to Panel
        All of the same rows.
    groups, strata, n, seed
        As in `bootstrap.resamples`, which draws the same rows. With one group the draws are NaN.
    watch : callable
        Wraps the loop over blocks of resamples for a progress bar.
    """
    rows = next(iter(panels.values())).rows
    parts: dict[str, dict[str, list[FloatArray]]] = {name: {} for name in panels}
    codes, n_groups = group_codes(groups, rows)
    # A group is drawn as a whole: sums over its rows are taken once, not in every resample.
    drawn_panels = {
        name: panel.grouped(codes, n_groups) if n_groups < rows else panel
        for name, panel in panels.items()
    }
    of_groups = n_groups < rows
    draws = watch(weightings(rows, groups, strata, n, seed, of_groups=of_groups))
    no_draw = np.ones((n_groups, 1))  # none of them still has its names
    for columns in draws if n else [no_draw]:
        for name, panel in drawn_panels.items():
            for score, values in panel.numbers(columns).items():
                drawn = np.full_like(values, np.nan) if n_groups < 2 else values
                parts[name].setdefault(score, []).append(drawn)
    return {
        name: {score: np.concatenate(blocks, axis=-1)[..., :n] for score, blocks in found.items()}
        for name, found in parts.items()
    }
