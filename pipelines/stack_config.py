"""Flags of `lesion stack`. Plain data: nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lesioncore.config import DataOptions, Policy, Subset
from lesioncore.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class StackOptions(DataOptions):
    """What a stack looks at: a table of lesions, measured masks, scores of images. No pixels.

    Args:
        scores: scores of images by other models: tables (TABLE::COLUMN where the column has no
            usual name) or run folders; to train, out-of-fold scores
        masks: mask cache whose measurements become features (lesion cache measure makes them)
        workers: threads of the boosters; -1 is one a core
        max_failed: leave out up to this many lesions that lack a score
    """

    scores: list[str] = field(default_factory=list)
    masks: Path | None = None
    workers: int = -1
    max_failed: int = 0


@dataclass(frozen=True, kw_only=True)
class StackTrainConfig(StackOptions):
    """Train gradient boosting on metadata, patient context, masks and image scores.

    Args:
        out: run folder; the same command on it again goes on
        algorithms: libraries whose boosters are averaged (lightgbm, xgboost, catboost)
        folds: members; each is scored on the patients that it did not see
        folds_from: split.csv of another run, or its folder, to take the folds from
        inner_folds: parts of a member's training patients on which rounds and settings are chosen
        seeds: boosters of each algorithm and member, which draw other rows and columns
        start: boosting starts at the log-odds that the image scores give (scores), or at the rate
            of malignant lesions (rate)
        without: families of features to leave out (metadata, geometry, border, colour, position,
            masks, patient, outlier, scores, rates)
        negative_ratio: benign lesions per malignant one that a booster learns from; auto is 100
            where there are more
        score_noise: deviation of Gaussian noise on the scores that are learned from, as a part of
            their own deviation in log-odds
        learning_rate: of the boosters
        max_rounds: trees of a booster at most
        patience: rounds without a gain on an inner fold after which a booster stops there
        policy: what counts as malignant; auto is the archive's own choice
        test_list: auto (the archive's committed list), none, or a file of image ids
        resamples: bootstrap draws of the intervals
        seed: seed of folds, sampling and boosters
    """

    out: Path
    algorithms: list[str] = field(default_factory=lambda: ["lightgbm", "xgboost", "catboost"])
    folds: int = 5
    folds_from: Path | None = None
    inner_folds: int = 4
    seeds: int = 3
    start: Literal["scores", "rate"] = "scores"
    without: list[str] = field(default_factory=list)
    negative_ratio: float | Literal["auto", "all"] = "auto"
    score_noise: float = 0.0
    learning_rate: float = 0.04
    max_rounds: int = 600
    patience: int = 50
    policy: Policy = "auto"
    test_list: str = "auto"
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (
            ("folds", 2), ("inner_folds", 2), ("seeds", 1), ("max_rounds", 1), ("patience", 1),
            ("resamples", 0), ("score_noise", 0),
        ):  # fmt: skip
            if getattr(self, name) < least:
                flag = name.replace("_", "-")
                raise UsageError(f"--{flag} is {getattr(self, name)}", wanted=f"{least} or more")
        if not 0 < self.learning_rate <= 1:
            raise UsageError(
                f"--learning-rate is {self.learning_rate}", wanted="more than 0 and at most 1"
            )
        if not isinstance(self.negative_ratio, str) and self.negative_ratio <= 0:
            raise UsageError(
                f"--negative-ratio is {self.negative_ratio}", wanted="more than 0, auto or all"
            )
        if not self.algorithms:
            raise UsageError("no algorithms", wanted="--algorithms lightgbm, xgboost or catboost")


@dataclass(frozen=True, kw_only=True)
class StackPredictConfig(StackOptions):
    """Predict with a stack.

    Args:
        weights: run folder of lesion stack train
        scores: scores of these images by the same models and in the same order as in training
        out: table to write
        subset: all is every lesion; test is the archive's held-back list
        test_list: auto (what the run held back, or the archive's committed list), none, or a file
    """

    weights: Path
    out: Path = Path("predictions.csv")
    subset: Subset = "all"
    test_list: str = "auto"

    def __post_init__(self) -> None:
        if self.out.suffix.lower() not in (".csv", ".parquet"):
            raise UsageError(f"--out is {self.out}", wanted="a .csv or .parquet table")
