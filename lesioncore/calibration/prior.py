"""Another prevalence: how probabilities move with it, and when it seems to be another one.

Saerens, Latinne and Decaestecker, "Adjusting the outputs of a classifier to new a priori
probabilities", Neural Computation 2002. The shift holds where malignant and benign lesions look as
they did and only their shares differ.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from lesioncore.calibration.calibrator import to_logit
from lesioncore.errors import LesionError
from lesioncore.metrics.checks import FloatArray

#: Odds that differ by more than this factor are another prevalence.
FAR = 2.0
#: Predictions of which the mean probability is worth a look.
ENOUGH = 200


def prior_offset(shown: float, wanted: float) -> float:
    """Return what to add to logits that speak of odds `shown`, so that they speak of `wanted`.

    Parameters
    ----------
    shown, wanted : float
        Malignant to benign, more than 0.
    """
    return math.log(wanted) - math.log(shown)


def odds(prevalence: float) -> float:
    """Return the odds of a prevalence.

    Raises
    ------
    LesionError
        It is not between 0 and 1.
    """
    if not 0 < prevalence < 1:
        raise LesionError(f"a prevalence of {prevalence:g}", wanted="a part between 0 and 1")
    return prevalence / (1 - prevalence)


def shifted(probabilities: npt.ArrayLike, fitted: float, wanted: float) -> FloatArray:
    """Return probabilities (n,) that hold at prevalence `fitted` as they are at `wanted`."""
    offset = prior_offset(odds(fitted), odds(wanted))
    return np.asarray(expit(to_logit(probabilities) + offset), np.float64)


def far_apart(one: float, other: float) -> bool:
    """Return whether two prevalences differ by more than `FAR` in their odds."""
    if not (0 < one < 1 and 0 < other < 1):
        return one != other
    return abs(prior_offset(odds(one), odds(other))) > math.log(FAR)


def drift(probabilities: npt.ArrayLike, expected: float) -> str | None:
    """Return a warning where a batch looks like another prevalence than `expected`, else None.

    Parameters
    ----------
    probabilities : (n,) float
        Calibrated, NaN where an image could not be read; fewer than `ENOUGH` tell nothing.
    expected : float
        The prevalence that the probabilities speak of.
    """
    given = np.asarray(probabilities, np.float64)
    given = given[~np.isnan(given)]
    if len(given) < ENOUGH:
        return None
    mean = float(given.mean())
    noise = math.sqrt(expected * (1 - expected) / len(given))
    if not far_apart(mean, expected) or abs(mean - expected) < 3 * noise:
        return None
    return (
        f"the mean probability of these {len(given):,} images is {mean:.2%}, the prevalence that "
        f"the probabilities speak of is {expected:.2%}: where malignancy is rarer or commoner "
        "here, say so with --prevalence P, or refit with lesion calibrate"
    )
