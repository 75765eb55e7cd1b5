"""What every metric of labels and scores asks of its arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lesioncore.errors import LesionError

FloatArray = npt.NDArray[np.float64]


def labels_and_scores(y: npt.ArrayLike, s: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return labels (n,) of 0.0 or 1.0 and scores (n,) as float64.

    Raises
    ------
    LesionError
        The lengths differ, a label is neither 0 nor 1, or a score is not a number.
    """
    labels = np.asarray(y, dtype=np.float64).reshape(-1)
    scores = np.asarray(s, dtype=np.float64).reshape(-1)
    if len(labels) != len(scores):
        raise LesionError(
            f"{len(labels)} labels and {len(scores)} scores", wanted="one score a label"
        )
    wrong = ~((labels == 0) | (labels == 1))
    if wrong.any():
        raise LesionError(
            f"{int(wrong.sum())} labels are neither 0 nor 1 (first: {labels[wrong][0]})",
            wanted="1 for malignant, 0 for benign; leave out rows without a label",
        )
    if np.isnan(scores).any():
        raise LesionError(
            f"{int(np.isnan(scores).sum())} scores are not a number", wanted="a score for each row"
        )
    return labels, scores


def probabilities(y: npt.ArrayLike, p: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return labels (n,) of 0.0 or 1.0 and probabilities (n,) as float64.

    Raises
    ------
    LesionError
        As `labels_and_scores`, or a value of `p` lies outside [0, 1].
    """
    labels, chance = labels_and_scores(y, p)
    if len(chance) and (chance.min() < 0 or chance.max() > 1):
        raise LesionError(
            f"scores from {chance.min():.4g} to {chance.max():.4g} are not probabilities",
            wanted="values in [0, 1] for calibration and decision curves",
        )
    return labels, chance


def weight_columns(weights: npt.ArrayLike | None, n: int) -> FloatArray:
    """Return weights as (n, B) float64; None is one column of ones.

    Rows come first, so that sorting the rows of many resamples copies whole lines of memory.
    """
    if weights is None:
        return np.ones((n, 1))
    columns = np.asarray(weights, dtype=np.float64)
    if columns.ndim == 1:
        columns = columns[:, None]
    if columns.ndim != 2 or len(columns) != n:
        raise LesionError(
            f"weights of shape {np.shape(weights)} for {n} rows", wanted=f"({n},) or ({n}, B)"
        )
    return columns


def as_given(values: FloatArray, weights: npt.ArrayLike | None) -> float | FloatArray:
    """Return (B,) values as a float where the weights were None or one column."""
    return float(values[0]) if weights is None or np.ndim(weights) == 1 else values


def divide(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Return part / whole with NaN where whole is 0 (a resample without the class, say)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / whole, np.nan)
