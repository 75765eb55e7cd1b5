"""Options of `clsstage features`. Plain data: nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clsstage.config import DEFAULT_FOCUS
from lesioncore.config import ComputeOptions, DataOptions, Subset
from lesioncore.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig(DataOptions, ComputeOptions):
    """Write the features of every image of an archive, as a classifier or an encoder sees it.

    Args:
        out: HDF5 file to write
        weights: run folder of `clsstage train`, a weights folder, or a shipped name
        encoder: in place of weights, an encoder with ImageNet weights and no training
        encoder_weights: for encoder, auto, offline, hub, none, or a .safetensors/.pth file
        layer: fused is what the last layer of the classifier is given, image and metadata; image
            is what the encoder pools from the picture alone; auto is fused, or image for encoder
        members: all writes the features of every member; out-of-fold, for an image of the training
            set, those of the member that did not train on it
        masks: mask cache of these images; without it every image is seen whole
        dtype: float16 takes half the room
        focus: for encoder, what it sees of an image
        margin: for encoder, border of a dilated crop, as a part of the lesion's longer side
        blur: for encoder, strength of the soft background
        size: for encoder, side of the square it sees, in pixels; auto is its own
        min_score: for encoder, masks whose segmenter is less sure than this are not trusted
        min_quality: for encoder, masks of less estimated quality than this are not trusted
        subset: all is every image; test is the archive's held-back list; validation and train are
            what the run validated on and learned from
        test_list: auto (the archive's committed list), none, or a file of image ids
        batch_size: images a step
        max_failed: exit with 1 when more images than this could not be read
    """

    out: Path = Path("features.h5")
    weights: Path | None = None
    encoder: str | None = None
    encoder_weights: str = "auto"
    layer: Literal["auto", "image", "fused"] = "auto"
    members: Literal["all", "out-of-fold"] = "all"
    masks: Path | None = None
    dtype: Literal["float16", "float32"] = "float16"
    focus: str = DEFAULT_FOCUS
    margin: float = 0.3
    blur: float = 0.7
    size: int | Literal["auto"] = "auto"
    min_score: float = 0.0
    min_quality: float = 0.6
    subset: Subset = "all"
    test_list: str = "auto"
    batch_size: int = 64
    max_failed: int = 0

    def __post_init__(self) -> None:
        from clsstage.focus_names import parse_focus

        parse_focus(self.focus)
        if self.encoder is not None:
            if self.weights is not None:
                raise UsageError(
                    "--weights and --encoder are both given",
                    wanted="a trained classifier, or an encoder without training",
                )
            if self.layer == "fused" or self.members != "all":
                raise UsageError(
                    f"--encoder {self.encoder} has no fusion and no folds",
                    wanted="--layer image and --members all, or --weights of a training",
                )

    @property
    def chosen_layer(self) -> str:
        """`image` or `fused`."""
        if self.layer != "auto":
            return self.layer
        return "fused" if self.encoder is None else "image"
