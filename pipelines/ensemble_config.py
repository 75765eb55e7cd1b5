"""Flags of `lesion ensemble`. Plain data: nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lesioncore.config import Policy
from lesioncore.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig:
    """Join the scores of several models into one table of predictions.

    Args:
        members: what is joined: tables of scores (TABLE::COLUMN where the column has no usual name)
            and run folders, of which the out-of-fold predictions are taken
        method: mean of ranks (rank), of probabilities (mean) or of log-odds (logit), or a mean of
            ranks by weights that are fitted to the labels (weights)
        out: table to write; beside it, as .json, how the members were joined and what each adds
        labels: table with an id and a label a row; left out, those beside the first member's
            scores where there are any
        fitted: .json of an earlier call, to join scores of other images by the same members, in
            the same order, as it did (method and labels then play no part)
        id_column: left out, the first of image_id, isic_id, image_name, img_id, image
        label_column: left out, the first of target, label, malignant, benign_malignant
        policy: what counts as malignant where the labels are diagnoses
        source: archive whose words the diagnoses are
        folds: for weights: parts of which each is joined by weights fitted on the others
        seed: seed of the parts and of the bootstrap
        resamples: bootstrap draws of the intervals
        max_failed: go on when up to this many rows lack a score of some member
    """

    members: list[str]
    method: Literal["rank", "mean", "logit", "weights"] = "rank"
    out: Path = Path("predictions.csv")
    labels: Path | None = None
    fitted: Path | None = None
    id_column: str | None = None
    label_column: str | None = None
    policy: Policy = "auto"
    source: str | None = None
    folds: int = 5
    seed: int = 0
    resamples: int = 1000
    max_failed: int = 0

    def __post_init__(self) -> None:
        if not self.members:
            raise UsageError("no members", wanted="--members A --members B ...")
        if self.folds < 2:
            raise UsageError(f"--folds is {self.folds}", wanted="2 or more")
        if self.out.suffix.lower() not in (".csv", ".parquet"):
            raise UsageError(f"--out is {self.out}", wanted="a .csv or .parquet table")
