"""Which rows an epoch sees when the classes are far apart, and how to undo it afterwards.

Benign rows are drawn anew each epoch, malignant ones repeat. The draw depends on (seed, epoch)
only (`lesioncore.loading.EpochSampler`), so a resumed run sees what an unbroken one would have. A
network trained on such epochs believes in their prevalence; `prior_offset` moves its logits back
to that of the archive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesioncore.calibration.prior import prior_offset
from lesioncore.errors import LesionError

RARE = 0.05  # below this prevalence, "auto" draws AUTO_RATIO benign images per malignant one
AUTO_RATIO = 10.0


@dataclass(frozen=True)
class ClassSampling:
    """How many rows of each class an epoch shows.

    Parameters
    ----------
    negative_ratio : float or None
        Benign rows per malignant row shown; None shows all.
    positive_ratio : float
        How often each malignant row is shown; a fraction is rounded over the class.
    """

    negative_ratio: float | None = None
    positive_ratio: float = 1.0

    def counts(self, labels: NDArray[np.floating]) -> tuple[int, int]:
        """Return how many (benign, malignant) rows an epoch shows, at least one of each."""
        positives = int((labels == 1).sum())
        negatives = int((labels == 0).sum())
        shown = max(1, round(positives * self.positive_ratio)) if positives else 0
        if self.negative_ratio is not None and positives:
            negatives = min(negatives, max(1, round(shown * self.negative_ratio)))
        return negatives, shown

    def rows(
        self,
        labels: NDArray[np.floating],
        rng: np.random.Generator,
        hardness: NDArray[np.floating] | None = None,
        part: float = 0.0,
    ) -> NDArray[np.int64]:
        """Return the rows of an epoch in the order they are shown, (m,) int64; m never changes.

        Every malignant row is shown floor or ceil of `positive_ratio` times; benign rows are
        drawn without replacement.

        Parameters
        ----------
        labels : (n,) float
        rng : Generator
        hardness : (n,) float, optional
            Logit of malignancy where it is known, else NaN.
        part : float
            This part of the benign rows are the hardest known ones, the others are drawn.
        """
        benign, malignant = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)
        n_benign, n_malignant = self.counts(labels)
        if n_benign < benign.size:
            hardest = _hardest(benign, hardness, round(part * n_benign))
            others = np.setdiff1d(benign, hardest, assume_unique=True)
            drawn = rng.choice(others, n_benign - hardest.size, replace=False)
            benign = np.concatenate([hardest, drawn])
        if malignant.size:
            whole, rest = divmod(n_malignant, malignant.size)
            extra = rng.choice(malignant, rest, replace=False)
            malignant = np.concatenate([np.repeat(malignant, whole), extra])
        return rng.permutation(np.concatenate([benign, malignant])).astype(np.int64)

    def prior_offset(
        self, labels: NDArray[np.floating], archive: NDArray[np.floating] | None = None
    ) -> float:
        """Return what to add to a logit so that it speaks of the prevalence of `archive`.

        Parameters
        ----------
        labels : (n,) float
            What epochs are drawn from.
        archive : (m,) float, optional
            The real rows among them, where some are synthetic; left out, `labels`.
        """
        shown_negative, shown_positive = self.counts(labels)
        archive = labels if archive is None else archive
        positives, negatives = int((archive == 1).sum()), int((archive == 0).sum())
        if not (positives and negatives):
            return 0.0
        return prior_offset(shown_positive / shown_negative, positives / negatives)


def _hardest(
    rows: NDArray[np.int64], hardness: NDArray[np.floating] | None, count: int
) -> NDArray[np.int64]:
    """Return up to `count` of these rows, those of the highest known hardness."""
    if hardness is None or count == 0:
        return rows[:0]
    known = rows[~np.isnan(hardness[rows])]
    return known[np.argsort(-hardness[known], kind="stable")[:count]]


def choose_sampling(
    labels: NDArray[np.floating], negative_ratio: float | str, positive_ratio: float
) -> ClassSampling:
    """Return the sampling for these labels; "auto" and "all" are as in `TrainConfig`."""
    prevalence = float((labels == 1).mean()) if labels.size else 0.0
    if negative_ratio == "auto":
        ratio = AUTO_RATIO if 0 < prevalence < RARE else None
    elif negative_ratio == "all":
        ratio = None
    else:
        ratio = float(negative_ratio)
    return ClassSampling(ratio, positive_ratio)


def check_two_classes(labels: NDArray[np.floating], what: str, policy: str) -> None:
    """Refuse labels of one class only, saying which and how many.

    Raises
    ------
    LesionError
        Fewer than one malignant or one benign row.
    """
    positives, negatives = int((labels == 1).sum()), int((labels == 0).sum())
    if positives and negatives:
        return
    if not positives and not negatives:
        raise LesionError(
            f"no {what}: none has a label under the policy {policy!r}",
            wanted="malignant and benign rows",
            mend="choose another --policy, or an archive (or part of one) with labels",
        )
    only = "malignant" if positives else "benign"
    raise LesionError(
        f"all {positives or negatives} {what} are {only} (policy {policy!r})",
        wanted="malignant and benign rows",
        mend="choose another --policy, take more rows (--limit), or change the split (--seed)",
    )
