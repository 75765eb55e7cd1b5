"""Overlap of two masks, as the ISIC challenges score it.

Empty masks follow `isic-challenge-scoring`: two empty masks agree (1.0), and one empty mask beside
one that is not scores 0.0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lesioncore.errors import LesionError

#: Below this Jaccard index the ISIC 2018 rule counts a mask as failed (0).
JACCARD_THRESHOLD = 0.65


def mask_counts(pred: npt.ArrayLike, truth: npt.ArrayLike) -> tuple[int, int, int]:
    """Return (true positive, false positive, false negative) pixels.

    Parameters
    ----------
    pred, truth : array_like, (H, W) bool
        Any other dtype is read as "not zero".

    Raises
    ------
    LesionError
        The masks differ in shape.
    """
    a, b = np.asarray(pred), np.asarray(truth)
    if a.shape != b.shape:
        raise LesionError(
            f"a mask of {a.shape} is compared with a mask of {b.shape}",
            wanted="two masks of the same height and width",
            mend="score masks at the original size of their image, without resizing one of them",
        )
    a, b = a.astype(bool, copy=False), b.astype(bool, copy=False)
    both = int(np.count_nonzero(a & b))
    return both, int(np.count_nonzero(a)) - both, int(np.count_nonzero(b)) - both


def dice(pred: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Return 2|A n B| / (|A| + |B|) of two (H, W) bool masks, in [0, 1]; 1.0 if both are empty."""
    both, over, missed = mask_counts(pred, truth)
    return _ratio(2 * both, 2 * both + over + missed)


def jaccard(pred: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Return |A n B| / |A u B| of two (H, W) bool masks, in [0, 1]; 1.0 if both are empty."""
    both, over, missed = mask_counts(pred, truth)
    return _ratio(both, both + over + missed)


def thresholded_jaccard(values: npt.ArrayLike, threshold: float = JACCARD_THRESHOLD) -> Any:
    """Return Jaccard values with everything below `threshold` set to 0 (ISIC 2018, task 1).

    Parameters
    ----------
    values : float or array_like of float in [0, 1]
        Jaccard index of each image. A value equal to `threshold` is kept.

    Returns
    -------
    float or ndarray of float64, the shape of `values`
    """
    given = np.asarray(values, dtype=np.float64)
    kept = np.where(given < threshold, 0.0, given)
    return float(kept) if kept.ndim == 0 else kept


def mask_scores(pred: npt.ArrayLike, truth: npt.ArrayLike) -> dict[str, float]:
    """Return `dice`, `jaccard` and `thresholded_jaccard` of two (H, W) bool masks in one pass."""
    both, over, missed = mask_counts(pred, truth)
    overlap = _ratio(both, both + over + missed)
    return {
        "dice": _ratio(2 * both, 2 * both + over + missed),
        "jaccard": overlap,
        "thresholded_jaccard": thresholded_jaccard(overlap),
    }


def _ratio(part: int, whole: int) -> float:
    # whole == 0 only when both masks are empty, which the official scorer calls a perfect answer.
    return part / whole if whole else 1.0
