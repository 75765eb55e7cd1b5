"""Metrics of masks, rankings and probabilities, with bootstrap intervals."""

from lesioncore.metrics.bootstrap import (
    Interval,
    bootstrap,
    mean,
    paired_bootstrap,
    positive_strata,
    resamples,
)
from lesioncore.metrics.calibration import Reliability, brier, ece, reliability_curve
from lesioncore.metrics.ranking import (
    average_precision,
    partial_auc,
    roc_auc,
    roc_curve,
    sensitivity_at,
    specificity_at,
    threshold_for,
    top_k_sensitivity,
)
from lesioncore.metrics.scores import (
    MALIGNANCY_METRICS,
    MASK_METRICS,
    TITLES,
    score_lines,
    score_malignancy,
    score_masks,
    score_table,
    score_text,
)
from lesioncore.metrics.segmentation import (
    JACCARD_THRESHOLD,
    dice,
    jaccard,
    mask_scores,
    thresholded_jaccard,
)

__all__ = [
    "JACCARD_THRESHOLD",
    "MALIGNANCY_METRICS",
    "MASK_METRICS",
    "TITLES",
    "Interval",
    "Reliability",
    "average_precision",
    "bootstrap",
    "brier",
    "dice",
    "ece",
    "jaccard",
    "mask_scores",
    "mean",
    "paired_bootstrap",
    "partial_auc",
    "positive_strata",
    "reliability_curve",
    "resamples",
    "roc_auc",
    "roc_curve",
    "score_lines",
    "score_malignancy",
    "score_masks",
    "score_table",
    "score_text",
    "sensitivity_at",
    "specificity_at",
    "threshold_for",
    "thresholded_jaccard",
    "top_k_sensitivity",
]
