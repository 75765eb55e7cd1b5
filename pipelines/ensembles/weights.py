"""Weights of members, never below 0 and adding up to 1, fitted to labels; with nesting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesioncore.errors import LesionError
from lesioncore.progress import log

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Slopes:
    """A logistic model of scores: log-odds of malignancy = intercept + scores @ slopes.

    Attributes
    ----------
    intercept : float
    slopes : tuple of float, one a member, 0 or more
    """

    intercept: float
    slopes: tuple[float, ...]

    def log_odds(self, scores: Array) -> Array:
        """Return the log-odds of malignancy of rows (n, K)."""
        return self.intercept + scores @ np.asarray(self.slopes)

    @property
    def weights(self) -> tuple[float, ...]:
        """The slopes as parts of 1; equal parts where no member helps."""
        total = sum(self.slopes)
        if total <= 0:
            return (1 / len(self.slopes),) * len(self.slopes)
        return tuple(slope / total for slope in self.slopes)


def fit_slopes(scores: Array, labels: Array) -> Slopes:
    """Return the logistic model that fits best with slopes of 0 or more.

    A member that would get a negative slope is left out instead: what it would subtract is the
    noise of the others. The slopes of standardised scores are pulled to 0 with unit strength (a
    normal prior of variance 1), so that members that say the same share the weight.

    Parameters
    ----------
    scores : (n, K) float64
        Ranks or log-odds, one column a member.
    labels : (n,) float64
        1 malignant, 0 benign.

    Raises
    ------
    LesionError
        Labels of one class.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    positives = float(labels.sum())
    if positives in (0.0, float(len(labels))):
        raise LesionError(
            f"all {len(labels)} rows are of one class: no weights can be fitted",
            wanted="malignant and benign rows",
        )
    mean, scale = scores.mean(axis=0), scores.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    standard = (scores - mean) / scale
    rate = positives / len(labels)
    begin = np.r_[np.log(rate / (1 - rate)), np.full(scores.shape[1], 1 / scores.shape[1])]

    def loss(values: Array) -> tuple[float, Array]:
        logit = values[0] + standard @ values[1:]
        wrong = expit(logit) - labels
        total = np.logaddexp(0, logit).sum() - labels @ logit + 0.5 * (values[1:] ** 2).sum()
        return float(total), np.r_[wrong.sum(), standard.T @ wrong + values[1:]]

    bounds = [(None, None)] + [(0.0, None)] * scores.shape[1]
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds).x
    slopes = found[1:] / scale
    return Slopes(float(found[0] - slopes @ mean), tuple(map(float, slopes)))


def nested_weights(
    scores: Array, labels: Array, folds: NDArray[np.int64]
) -> list[tuple[float, ...]]:
    """Return the weights for each fold, fitted on the other folds alone.

    Parameters
    ----------
    scores : (n, K) float64
    labels : (n,) float64
    folds : (n,) int64, 0 to F - 1
    """
    found = []
    for fold in range(int(folds.max()) + 1):
        others = folds != fold
        slopes = fit_slopes(scores[others], labels[others])
        if not any(slopes.slopes):
            log.warning("fold %d: no member tells malignant from benign; equal weights", fold)
        found.append(slopes.weights)
    return found
