"""Flags of `lesion calibrate`. Plain data: nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lesioncore.config import CalibrationMethod, Policy
from lesioncore.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig:
    """Fit what scores mean, and where to flag, on cases whose truth is known.

    Args:
        predictions: CSV or Parquet file with an id and a score a row, as `lesion predict` writes;
            left out, the run's own held-out scores are taken
        labels: file with an id and a label a row; left out, the labels are in the predictions
        run: run folder of `clsstage train`, or of a `lesion run`: whose scores these are
        in_run: write into the run, so that its predictions use it
        replace: overwrite the calibration that a run or weights have
        out: file to write; left out, calibration.json here
        method: auto takes the map that is best on cases held out from it
        sensitivity: that the operating point is fitted for
        alpha: part of each class that may be missing from its own prediction sets
        prevalence: part of the lesions that is malignant where the calibration will be used; left
            out, that of these cases
        name: what to call these cases; left out, the name of the file of labels
        id_column: left out, the first of image_id, isic_id, image_name, img_id, image
        score_column: left out, malignant_raw where predictions are calibrated already, else as of
            lesion evaluate
        label_column: left out, the first of target, label, malignant, benign_malignant
        policy: what counts as malignant where the labels are diagnoses: cancer, cancer+ak, melanoma
        source: archive whose words the diagnoses are (ham10000, ...), where words mean something
            in one archive only
        group_column: what is never divided; left out, patient_id, then lesion_id
        resamples: bootstrap draws of the intervals; left out, 1000, or 200 of more than 50,000 rows
        seed: of the folds and the bootstrap
        max_failed: refuse when more rows than this have no partner or no score
    """

    predictions: Path | None = None
    labels: Path | None = None
    run: Path | None = None
    in_run: bool = False
    replace: bool = False
    out: Path | None = None
    method: CalibrationMethod = "auto"
    sensitivity: float = 0.9
    alpha: float = 0.1
    prevalence: float | None = None
    name: str | None = None
    id_column: str | None = None
    score_column: str | None = None
    label_column: str | None = None
    policy: Policy = "auto"
    source: str | None = None
    group_column: str | None = None
    resamples: int | None = None
    seed: int = 0
    max_failed: int = 0

    def __post_init__(self) -> None:
        if self.predictions is None and self.run is None:
            raise UsageError(
                "nothing to calibrate on",
                wanted="--predictions P.csv with --labels L.csv, or --run RUN for its own scores",
            )
        if self.labels is not None and self.predictions is None:
            raise UsageError("--labels without --predictions", wanted="both")
        if self.in_run and self.run is None:
            raise UsageError("--in-run without a run", wanted="--run RUN")
        if self.in_run and self.out is not None:
            raise UsageError("--in-run and --out", wanted="one or the other")
        for flag, value in (("alpha", self.alpha), ("prevalence", self.prevalence)):
            if value is not None and not 0 < value < 1:
                raise UsageError(f"--{flag} is {value}", wanted="between 0 and 1")
        if not 0 < self.sensitivity <= 1:
            raise UsageError(
                f"--sensitivity is {self.sensitivity}", wanted="more than 0 and at most 1"
            )
