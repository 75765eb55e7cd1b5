"""Malignant lesions among the few that a reader looks at on each patient. Pure NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lesioncore.metrics.checks import (
    FloatArray,
    as_given,
    divide,
    labels_and_scores,
    weight_columns,
)


def top_k_sensitivity(
    y: npt.ArrayLike,
    s: npt.ArrayLike,
    patients: npt.ArrayLike,
    k: int = 15,
    *,
    pooled: bool = False,
    weights: npt.ArrayLike | None = None,
) -> Any:
    """Return the share of malignant lesions among the `k` highest scores of their own patient.

    Parameters
    ----------
    patients : (n,)
        Patient of each row, of any hashable kind.
    k : int
        Lesions a reader would look at for each patient (15 in the ISIC 2024 secondary metric).
    pooled : bool
        Weigh each malignant lesion alike. Left out, each patient who has any weighs alike, as in
        the prize of ISIC 2024, so that a patient with many does not decide.

    Returns
    -------
    float in [0, 1]
        NaN without positives. `weights` weigh rows and do not change the ranks, so resample whole
        patients.

    Notes
    -----
    Where a tie straddles the k-th place, each tied lesion counts by its chance of being among
    them; the official script takes those that come first in the file, which is one of the orders
    that this is the mean of.
    """
    found, all_of_them = retrieval_parts(y, s, patients, k, pooled=pooled)
    columns = weight_columns(weights, len(found))
    return as_given(divide(found @ columns, all_of_them @ columns), weights)


def retrieval_parts(
    y: npt.ArrayLike, s: npt.ArrayLike, patients: npt.ArrayLike, k: int, *, pooled: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Return what each row (n,) adds to the share and to the whole of `top_k_sensitivity`."""
    labels, scores = labels_and_scores(y, s)
    _, codes = np.unique(np.asarray(patients).astype(str), return_inverse=True)
    share = labels
    if not pooled and len(labels):
        share = divide(labels, np.bincount(codes, labels).astype(np.float64)[codes])
        share = np.where(labels == 1, share, 0.0)
    return share * shown_share(scores, codes, k), share


def shown_share(scores: FloatArray, codes: npt.NDArray[np.int64], k: int) -> FloatArray:
    """Return each row's chance (n,) to be among the `k` highest of its patient, ties in any order.

    Parameters
    ----------
    scores : (n,) float64
    codes : (n,) int64
        Number of each row's patient.
    """
    order = np.lexsort((-scores, codes))
    sorted_codes, sorted_scores = codes[order], scores[order]
    place = np.arange(len(order))
    new_patient = np.r_[True, sorted_codes[1:] != sorted_codes[:-1]] if len(order) else place > 0
    first_of_patient = np.maximum.accumulate(np.where(new_patient, place, 0))
    new_tie = new_patient.copy()
    new_tie[1:] |= sorted_scores[1:] != sorted_scores[:-1]
    tie = np.cumsum(new_tie) - 1
    tie_size = np.bincount(tie, minlength=1)[tie]
    tie_start = np.maximum.accumulate(np.where(new_tie, place, 0))
    above = tie_start - first_of_patient
    shown = np.empty(len(order))
    shown[order] = np.clip((k - above) / np.maximum(tie_size, 1), 0, 1)
    return shown
