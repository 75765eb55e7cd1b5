"""Split conformal sets with coverage of each class: what a score does not rule out.

A class is in the set of an image unless the image's score is stranger than all but a part `alpha`
of that class's calibration scores. Of new malignant images of the same kind at least 1 - alpha have
"malignant" in their set, and of benign ones "benign", whatever the prevalence (Vovk 2012,
"Conditional validity of inductive conformal predictors", the label-conditional case). Several
images of one patient are no independent draws, so there the coverage is approximate.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lesioncore.metrics.checks import FloatArray

#: What a set is called, by whether it holds benign and malignant.
SETS = {(True, False): "benign", (False, True): "malignant", (True, True): "both",
        (False, False): "none"}  # fmt: skip
CLASSES = ("benign", "malignant")


@dataclass(frozen=True)
class ConformalSets:
    """Limits on scores.

    Attributes
    ----------
    alpha : float
        Part of each class that may be left out of its own set.
    benign_max : float or None
        Benign is in the set of scores up to this one; None where it always is, for want of cases.
    malignant_min : float or None
        Malignant is in the set from this score on; None where it always is.
    benign, malignant : int
        Calibration images of each class.
    """

    alpha: float
    benign_max: float | None
    malignant_min: float | None
    benign: int
    malignant: int

    @classmethod
    def fit(cls, labels: FloatArray, scores: FloatArray, alpha: float) -> ConformalSets:
        """Return the limits that labels (n,) and scores (n,) give at level `alpha`.

        With n cases of a class its limit is the k-th strangest score, k = floor(alpha (n + 1)):
        the scores whose p-value (1 + number as strange) / (n + 1) is more than alpha.
        """
        benign, malignant = (np.sort(scores[labels == label]) for label in (0, 1))
        return cls(
            alpha=alpha,
            benign_max=_strangest(benign[::-1], alpha),
            malignant_min=_strangest(malignant, alpha),
            benign=len(benign),
            malignant=len(malignant),
        )

    def holds(self, scores: npt.ArrayLike) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return whether benign and whether malignant is in the set of each score (n,)."""
        given = np.asarray(scores, np.float64)
        high = np.inf if self.benign_max is None else self.benign_max
        low = -np.inf if self.malignant_min is None else self.malignant_min
        return given <= high, given >= low

    def sets(self, scores: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return the set of each score, (n,) of "benign", "malignant", "both" or "none"."""
        pairs = zip(*(part.tolist() for part in self.holds(scores)), strict=True)
        return np.array([SETS[pair] for pair in pairs], object)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def held_out_coverage(
    labels: FloatArray, scores: FloatArray, fold: npt.NDArray[np.int64], alpha: float
) -> dict[str, Any]:
    """Return how often each class was in its own set, the limits being those of the other folds.

    Parameters
    ----------
    labels, scores : (n,) float64
    fold : (n,) int64
        Whole patients or lesions in one.
    alpha : float

    Returns
    -------
    dict
        For each class `n`, `covered`, `coverage` with its exact binomial interval (95 %), and
        `sets`: the part of its images with each set.
    """
    found = np.empty(len(labels), object)
    for number in np.unique(fold):
        inside = fold == number
        limits = ConformalSets.fit(labels[~inside], scores[~inside], alpha)
        found[inside] = limits.sets(scores[inside])
    result = {}
    for label, name in enumerate(CLASSES):
        own = found[labels == label]
        covered = int(np.isin(own, (name, "both")).sum())
        result[name] = {
            "n": len(own),
            "covered": covered,
            "coverage": binomial(covered, len(own)),
            "sets": {word: float((own == word).mean()) for word in SETS.values()},
        }
    return result


def binomial(successes: int, n: int) -> dict[str, float]:
    """Return a share as `value`, `low` and `high`, the exact interval of Clopper and Pearson."""
    from scipy.stats import binomtest

    ends = binomtest(successes, n).proportion_ci(0.95, method="exact")
    return {"value": successes / n, "low": float(ends.low), "high": float(ends.high)}


def _strangest(ordered: FloatArray, alpha: float) -> float | None:
    """Return the score, of those from the strangest on, up to which a class is left out."""
    count = math.floor(alpha * (len(ordered) + 1) + 1e-9)
    return None if count == 0 else float(ordered[count - 1])
