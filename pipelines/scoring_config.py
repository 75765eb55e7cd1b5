"""Flags of `lesion evaluate`, which `lesion report` shares. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lesioncore.config import Policy


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """Which columns of which files are scored, and how.

    Args:
        labels: file with an id and a label a row; left out, the labels are in the predictions
        against: another file of predictions for the same images, compared in pairs with the
            first; may be said several times
        id_column: left out, the first of image_id, isic_id, image_name, img_id, image
        score_column: may be said several times, then the models are compared; left out, the first
            of malignant, score, probability, prediction, prob, oof_prediction (target in a file
            without labels)
        label_column: left out, the first of target, label, malignant, benign_malignant
        diagnosis_column: disease of a row, for the table by diagnosis; left out, the first of
            diagnosis, dx, diagnostic, iddx_full
        policy: what counts as malignant where the labels are diagnoses: cancer, cancer+ak, melanoma
        source: archive whose words the diagnoses are (ham10000, ...), where words mean something
            in one archive only
        group_column: what the bootstrap draws as a whole; left out, patient_id, then lesion_id
        threshold: score from which a lesion is called malignant, in rates and by diagnosis; left
            out, the highest that finds 90% of the malignant of these very rows
        resamples: bootstrap draws of the intervals
        stratify: keep the number of groups with a positive the same in each resample
        min_tpr: sensitivity above which the partial AUC counts
        seed: seed of the bootstrap
        max_failed: refuse when more rows than this have no partner or no score
    """

    labels: Path | None = None
    against: list[Path] | None = None
    id_column: str | None = None
    score_column: list[str] | None = None
    label_column: str | None = None
    diagnosis_column: str | None = None
    policy: Policy = "auto"
    source: str | None = None
    group_column: str | None = None
    threshold: float | None = None
    resamples: int = 1000
    stratify: bool = False
    min_tpr: float = 0.8
    seed: int = 0
    max_failed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.min_tpr < 1:
            raise ValueError(f"min_tpr is {self.min_tpr}: wanted a sensitivity, 0 to below 1")
        if self.resamples < 0:
            raise ValueError(f"resamples is {self.resamples}: wanted 0 or more")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(ScoringOptions):
    """Score any table of predictions against labels, with bootstrap intervals.

    Args:
        predictions: CSV or Parquet file with an id and one or more scores a row
        out: file for the scores (scores.json); left out, they go to stdout
    """

    predictions: Path
    out: Path | None = None
