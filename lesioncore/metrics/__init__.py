"""Metrics of masks, rankings and probabilities, with bootstrap intervals."""

from lesioncore.metrics.biopsies import number_needed_to_biopsy
from lesioncore.metrics.bootstrap import (
    Interval,
    bootstrap,
    mean,
    paired_bootstrap,
    positive_strata,
    resamples,
)
from lesioncore.metrics.calibration import Reliability, brier, ece, reliability_curve
from lesioncore.metrics.calibration_line import CalibrationLine, calibration_line
from lesioncore.metrics.decisions import DECISION_THRESHOLDS, net_benefit, treat_all
from lesioncore.metrics.delong import AucTest, auc_covariance, auc_test
from lesioncore.metrics.panel import Panel, resampled
from lesioncore.metrics.ranking import (
    average_precision,
    partial_auc,
    roc_auc,
    roc_curve,
    sensitivity_at,
    specificity_at,
    threshold_for,
)
from lesioncore.metrics.retrieval import top_k_sensitivity
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
    "DECISION_THRESHOLDS",
    "JACCARD_THRESHOLD",
    "MALIGNANCY_METRICS",
    "MASK_METRICS",
    "TITLES",
    "AucTest",
    "CalibrationLine",
    "Interval",
    "Panel",
    "Reliability",
    "auc_covariance",
    "auc_test",
    "average_precision",
    "bootstrap",
    "brier",
    "calibration_line",
    "dice",
    "ece",
    "jaccard",
    "mask_scores",
    "mean",
    "net_benefit",
    "number_needed_to_biopsy",
    "paired_bootstrap",
    "partial_auc",
    "positive_strata",
    "reliability_curve",
    "resampled",
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
    "treat_all",
]
