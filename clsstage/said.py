"""What a classifier says of one image."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lesioncore.calibration import Calibrated


@dataclass(frozen=True)
class ClassPrediction:
    """What a classifier says of one image.

    Attributes
    ----------
    malignant : float
        Probability, 0 to 1, at the prevalence of the training archive, or that of its calibration.
        Never a diagnosis.
    crop : (S, S, 3) uint8 RGB
        What the network saw.
    focus : str
        How it was focused; "full" where the mask could not be used.
    mask_status : str
        ok, edited, empty, failed, distrusted, or none.
    reason : str
        Why the mask was not used; empty where it was.
    missing : tuple of str
        Metadata that the classifier knows how to use and did not get.
    diagnoses : dict of str to float
        Probability of each class, where the classifier tells diagnoses apart.
    calibrated : Calibrated or None
        The score before its calibration, with interval, flag and prediction set; None where the
        classifier has no calibration.
    """

    malignant: float
    crop: NDArray[np.uint8]
    focus: str
    mask_status: str
    reason: str
    missing: tuple[str, ...]
    diagnoses: dict[str, float] = field(default_factory=dict)
    calibrated: Calibrated | None = None
