"""Flags of `lesion synthesize`. Plain data: nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lesioncore.config import ComputeOptions, Policy
from lesioncore.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SynthesizeConfig(ComputeOptions):
    """Make labelled malignant images with exact masks from the training images of one fold.

    Args:
        method: transplant puts malignant lesions on the skin of benign images; generate trains a
            small diffusion network on the lesions and draws new ones
        dataset: name of a reader (ham10000, isic2019, folder, csv, ...)
        root: folder in which the archive lies, in its official layout
        columns: for `csv`: our column name to the file's
        part: which of the archive's own parts, where it has several
        split: split.csv of a run, or the run's folder; only its training images are read
        fold: member of that split whose training images are the parents
        out: folder for images, masks, manifest.csv, report.json and summary.md; the same command
            again goes on there
        masks: mask cache; left out, the archive's own masks are used
        n: images to make
        policy: what counts as malignant; auto is the archive's own
        seed: seed and number of an image alone decide what it is
        min_quality: masks of lower quality (0 to 1) are not used
        copy_percentile: images nearer to a real one than this percentile of the distances between
            real ones are called copies and left out
        feature_weights: network of the checks: auto, offline, hub, none or a file of
            tf_efficientnet_lite0, or the folder of a trained classifier
        epochs: for generate: passes over the training lesions
        size: for generate: side of the images in pixels, a multiple of 8
        batch_size: for generate: images a step
        lr: for generate: peak learning rate
        max_failed: exit with 1 when more images than this could not be made
    """

    method: Literal["transplant", "generate"]
    dataset: str
    root: Path | None = None
    columns: dict[str, str] | None = None
    part: Literal["auto", "train", "validation", "test"] = "auto"
    split: Path
    fold: int = 0
    out: Path
    masks: Path | None = None
    n: int = 200
    policy: Policy = "auto"
    seed: int = 0
    min_quality: float = 0.7
    copy_percentile: float = 1.0
    feature_weights: str = "auto"
    epochs: int = 100
    size: int = 64
    batch_size: int = 16
    lr: float = 3e-4
    max_failed: int = 0

    def __post_init__(self) -> None:
        for name in ("n", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                flag = name.replace("_", "-")
                raise UsageError(f"--{flag} is {getattr(self, name)}", wanted="1 or more")
        if self.seed < 0 or self.fold < 0:
            raise UsageError("--seed or --fold is below 0", wanted="0 or more")
        if self.size < 16 or self.size % 8:
            raise UsageError(f"--size is {self.size}", wanted="16 or more, a multiple of 8")
        for name, top in (("min_quality", 1), ("copy_percentile", 100)):
            if not 0 <= getattr(self, name) <= top:
                flag = name.replace("_", "-")
                raise UsageError(f"--{flag} is {getattr(self, name)}", wanted=f"0 to {top}")
