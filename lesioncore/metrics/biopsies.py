"""What a sensitivity costs: lesions called malignant for each one that is. Pure NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lesioncore.metrics.checks import FloatArray, as_given, divide, weight_columns
from lesioncore.metrics.sweep import Sweep


def number_needed_to_biopsy(
    y: npt.ArrayLike,
    s: npt.ArrayLike,
    sensitivity: float = 0.8,
    *,
    weights: npt.ArrayLike | None = None,
) -> Any:
    """Return how many lesions are called malignant for each one that is, at a sensitivity.

    Parameters
    ----------
    sensitivity : float in (0, 1]
        The threshold is the highest that finds this share of the malignant lesions, as in
        `threshold_for`; lesions tied with it are called as well, and nothing is interpolated.

    Returns
    -------
    float
        At least 1: one over the positive predictive value. NaN without positives.

    Notes
    -----
    The organisers of ISIC 2024 call it the number needed to triage (Kurtansky et al., npj Digital
    Medicine 2025). It grows with the share of benign rows: never compare it over data sets of
    another prevalence.
    """
    sweep = Sweep.of(y, s)
    tps, fps = sweep.counts(weight_columns(weights, sweep.members.shape[1]))
    return as_given(called_per_found(tps, fps, sensitivity), weights)


def called_per_found(tps: FloatArray, fps: FloatArray, sensitivity: float) -> FloatArray:
    """Return called over found (B,) at the first step of cumulated positives (m, B) that has it."""
    first = np.argmax(tps >= sensitivity * tps[-1] - 1e-9, axis=0)
    found = np.take_along_axis(tps, first[None], axis=0)[0]
    called = found + np.take_along_axis(fps, first[None], axis=0)[0]
    return divide(called, found)
