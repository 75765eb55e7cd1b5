"""The abstention curve: how much is gained where the least sure images are left to a person.

A threshold t says what a miss costs against a false flag: (1 - t) to t. What a decision is expected
to cost is then t (1 - p) for a flagged image and (1 - t) p for another, most where p is t. The
images of which the decision is expected to cost most are left out first (Chow, "On optimum
recognition error and reject tradeoff", 1970).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from lesioncore.metrics.checks import FloatArray

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)


@dataclass(frozen=True)
class Kept:
    """The images that are decided when a part of them is not.

    Attributes
    ----------
    coverage : float
        Part of the images that are decided.
    n, malignant : int
        How many, and malignant ones among them.
    risk : float
        Part of them that is decided wrongly.
    sensitivity, specificity : float or None
        Among them; None without a row of that class.
    """

    coverage: float
    n: int
    malignant: int
    risk: float
    sensitivity: float | None
    specificity: float | None

    def to_dict(self) -> dict[str, float | int | None]:
        """Return plain values."""
        return asdict(self)


def abstention_curve(
    labels: FloatArray, probabilities: FloatArray, thresholds: FloatArray
) -> list[Kept]:
    """Return risk against coverage, from all images to half of them.

    Parameters
    ----------
    labels : (n,) float64
    probabilities : (n,) float64
    thresholds : (n,) float64
        From this probability on the image is flagged; fitted on other rows.
    """
    flagged = probabilities >= thresholds
    right = flagged == (labels == 1)
    cost = np.where(flagged, thresholds * (1 - probabilities), (1 - thresholds) * probabilities)
    order = np.argsort(cost, kind="stable")
    curve = []
    for coverage in COVERAGES:
        kept = order[: max(1, round(coverage * len(order)))]
        shares = [right[kept][labels[kept] == label] for label in (1, 0)]
        found, spared = (float(part.mean()) if len(part) else None for part in shares)
        risk = float((~right[kept]).mean())
        curve.append(Kept(coverage, len(kept), len(shares[0]), risk, found, spared))
    return curve
