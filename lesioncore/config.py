"""Options that commands of both stages share. Plain data: nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lesioncore.errors import UsageError

#: Images of an archive; see `lesioncore.subsets`.
Subset = Literal["test", "validation", "train", "all"]
#: Strength of the augmentation; see `lesioncore.transforms`.
Augment = Literal["none", "light", "medium", "strong", "isic2020"]
Policy = Literal["auto", "target", "cancer", "cancer+ak", "melanoma"]
#: Maps from scores to probabilities; see `lesioncore.calibration`.
CalibrationMethod = Literal["auto", "none", "temperature", "platt", "isotonic"]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Where the images are.

    Args:
        dataset: name of a reader (isic2024, ham10000, folder, csv, phantom, ...)
        root: folder in which the archive lies, in its official layout
        columns: for `csv`: our column name to the file's, e.g. {image_id: id, target: label}
        n: for `phantom`: how many images to make where root does not hold any yet
        limit: use only N images, evenly spaced over the archive (a smoke test of the whole path)
        split: which of the archive's own parts (train, validation, test), where it has several
    """

    dataset: str
    root: Path | None = None
    columns: dict[str, str] | None = None
    n: int = 400
    limit: int | None = None
    split: Literal["auto", "train", "validation", "test"] = "auto"


@dataclass(frozen=True, kw_only=True)
class ComputeOptions:
    """On what to compute.

    Args:
        device: auto takes a GPU when there is one
        precision: auto is bf16 on GPUs that have it, else fp32
        workers: loader processes; -1 chooses by the number of cores
    """

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    workers: int = -1


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """How scores become probabilities.

    Args:
        calibration: auto is the calibration that the run or the weights hold, none leaves scores as
            they are, anything else is a file that `lesion calibrate` wrote
        prevalence: part of the lesions here that is malignant, where it is not that of the set
            behind the probabilities; they are moved to it
    """

    calibration: str = "auto"
    prevalence: float | None = None

    def __post_init__(self) -> None:
        if self.prevalence is not None and not 0 < self.prevalence < 1:
            raise UsageError(f"--prevalence is {self.prevalence}", wanted="between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class FitOptions(ComputeOptions):
    """How long and how fast to learn.

    Args:
        epochs: passes over the training images
        batch_size: images a step
        lr: peak learning rate; warm-up starts at a tenth of it, cosine ends at zero
        warmup_epochs: epochs at a tenth of the rate (the ISIC 2020 winners use one)
        weight_decay: decoupled weight decay of AdamW
        folds: members trained on different parts; 1 is a single split
        val_fraction: part of the training groups that a single split validates on
        test_list: auto (the archive's committed list), none, or a file of image ids
        seed: seeds the split, the initial weights, the order and the augmentation
        near_duplicates: look for near duplicates too, so that they fall in one fold
        max_failed: go on without unreadable images or masks, up to this many
        select: keep the best epoch by the validation score, or the last; auto is best for a
            single split and last for folds, whose out-of-fold scores must stay honest
    """

    epochs: int = 10
    batch_size: int = 32
    lr: float = 1e-3
    warmup_epochs: int = 1
    weight_decay: float = 1e-4
    folds: int = 1
    val_fraction: float = 0.2
    test_list: str = "auto"
    seed: int = 0
    select: Literal["auto", "best", "last"] = "auto"
    near_duplicates: bool = True
    max_failed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "folds"):
            if getattr(self, name) < 1:
                raise UsageError(
                    f"--{name.replace('_', '-')} is {getattr(self, name)}", wanted="1 or more"
                )
        if not 0 < self.lr <= 1:
            raise UsageError(f"--lr is {self.lr}", wanted="more than 0 and at most 1")
        if not 0 < self.val_fraction < 1:
            raise UsageError(f"--val-fraction is {self.val_fraction}", wanted="between 0 and 1")
        for name in ("warmup_epochs", "weight_decay", "max_failed"):
            if getattr(self, name) < 0:
                raise UsageError(
                    f"--{name.replace('_', '-')} is {getattr(self, name)}", wanted="0 or more"
                )
