"""The abstention curve: how much is gained where the least sure images are left to a person."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from lesioncore.calibration.calibrator import to_logit
from lesioncore.metrics.checks import FloatArray

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)


@dataclass(frozen=True)
class Kept:
    """The images that are decided when a part of them is not.

    Attributes
    ----------
    coverage : float
        Part of the images that are decided: those farthest from the threshold, in logits.
    n : int
    risk : float
        Part of them that is decided wrongly.
    sensitivity, specificity : float or None
        Among them; None without a row of that class.
    """

    coverage: float
    n: int
    risk: float
    sensitivity: float | None
    specificity: float | None

    def to_dict(self) -> dict[str, float | int | None]:
        """Return plain values."""
        return asdict(self)


def abstention_curve(labels: FloatArray, probabilities: FloatArray, threshold: float) -> list[Kept]:
    """Return risk against coverage, from all images to the surer half of them.

    Parameters
    ----------
    labels : (n,) float64
    probabilities : (n,) float64
        By maps that did not see these rows.
    threshold : float
        From this probability on an image counts as malignant.
    """
    flagged = probabilities >= threshold
    right = flagged == (labels == 1)
    distance = np.abs(to_logit(probabilities) - to_logit(threshold))
    order = np.argsort(-distance, kind="stable")
    curve = []
    for coverage in COVERAGES:
        kept = order[: max(1, round(coverage * len(order)))]
        shares = [right[kept][labels[kept] == label] for label in (1, 0)]
        found, spared = (float(part.mean()) if len(part) else None for part in shares)
        curve.append(Kept(coverage, len(kept), float((~right[kept]).mean()), found, spared))
    return curve
