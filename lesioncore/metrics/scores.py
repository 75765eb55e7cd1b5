"""The scores that commands write and pages show: their names, titles and intervals, said once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from lesioncore.metrics.bootstrap import Interval, bootstrap, mean
from lesioncore.metrics.calibration import brier, ece
from lesioncore.metrics.checks import probabilities
from lesioncore.metrics.panel import Panel, resampled
from lesioncore.metrics.ranking import average_precision, partial_auc, roc_auc

if TYPE_CHECKING:
    import pandas as pd

#: Of masks, as `mask_scores` gives them for each image.
MASK_METRICS = ("dice", "jaccard", "thresholded_jaccard")
#: Of probabilities of malignancy: name to function of (labels, probabilities).
MALIGNANCY_METRICS: Mapping[str, Callable[..., Any]] = {
    "auc": roc_auc,
    "pauc": partial_auc,
    "average_precision": average_precision,
    "brier": brier,
    "ece": ece,
}
TITLES = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "thresholded_jaccard": "Jaccard, below 0.65 as 0",
    "auc": "AUC",
    "pauc": "pAUC above 80% TPR",
    "average_precision": "average precision",
    "brier": "Brier score",
    "ece": "calibration error",
    "calibration_intercept": "calibration intercept (right at 0)",
    "calibration_slope": "calibration slope (right at 1)",
    "sensitivity_at_specificity_90": "sensitivity at 90% specificity",
    "sensitivity_at_specificity_95": "sensitivity at 95% specificity",
    "specificity_at_sensitivity_90": "specificity at 90% sensitivity",
    "specificity_at_sensitivity_95": "specificity at 95% sensitivity",
    "number_needed_to_biopsy_80": "number needed to biopsy at 80% sensitivity",
    "number_needed_to_biopsy_90": "number needed to biopsy at 90% sensitivity",
    "top15_sensitivity": "found in each patient's top 15",
}

Score = dict[str, "float | None"]


def score_masks(
    images: pd.DataFrame,
    groups: npt.ArrayLike,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Score]:
    """Return the mean of each of `MASK_METRICS` over images, with its bootstrap interval by group.

    Parameters
    ----------
    images : DataFrame
        A column for each metric, a row an image, without NaN.
    groups : (n,)
        Patient or lesion of each image, drawn as a whole.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        Metric to `value`, `low`, `high`.
    """
    return {
        name: bootstrap(mean, images[name], groups=groups, n=resamples, seed=seed).to_dict()
        for name in MASK_METRICS
    }


def score_malignancy(
    labels: npt.ArrayLike,
    chances: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Score]:
    """Return each of `MALIGNANCY_METRICS` with its bootstrap interval by group.

    Parameters
    ----------
    labels : (n,) float
        1 malignant, 0 benign.
    chances : (n,) float
        Probabilities of malignancy.
    groups : (n,), optional
        Patient or lesion of each row, drawn as a whole.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        Metric to `value`, `low`, `high`, None where a class is missing.
    """
    panel = Panel(*probabilities(labels, chances))
    values = panel.numbers()
    draws = resampled({"": panel}, groups, n=resamples, seed=seed)[""]
    return {
        name: Interval.of(float(values[name][0]), draws[name]).to_dict()
        for name in MALIGNANCY_METRICS
    }


def score_text(score: Mapping[str, Any]) -> str:
    """Return `value [low, high]` with four digits, "not defined" without a value."""
    if score.get("value") is None:
        return "not defined"
    text = f"{score['value']:.4f}"
    if score.get("low") is None:
        return text
    return f"{text} [{score['low']:.4f}, {score['high']:.4f}]"


def score_lines(scores: Mapping[str, Any]) -> list[str]:
    """Return a line for each metric that `scores` has, for a person at a terminal."""
    names = _named(scores)
    width = max((len(TITLES[name]) for name in names), default=0)
    return [f"  {TITLES[name]:<{width}}  {score_text(scores[name])}" for name in names]


def score_table(scores: Mapping[str, Any]) -> list[str]:
    """Return the metrics that `scores` has as the lines of a Markdown table."""
    lines = ["| score | value | 95% interval |", "| --- | --- | --- |"]
    for name in _named(scores):
        ends = (scores[name][key] for key in ("value", "low", "high"))
        value, low, high = ("none" if x is None else f"{x:.4f}" for x in ends)
        lines.append(f"| {TITLES[name]} | {value} | {low} to {high} |")
    return lines


def _named(scores: Mapping[str, Any]) -> Sequence[str]:
    return [name for name in TITLES if name in scores]
