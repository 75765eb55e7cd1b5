"""Flags of `lesion export`. Plain data: nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipelines.config import StageOptions


@dataclass(frozen=True, kw_only=True)
class ExportConfig(StageOptions):
    """Write both stages as ONNX graphs that run without torch, checked against PyTorch.

    Args:
        out: folder to write; `lesion predict --run` and `lesion serve --run` take it
        stage: what to write
        views: flips and transposes that probabilities are averaged over, 1 to 8; left out, the
            classifier's own
        photos: photographs, or folders of them, for the comparison with PyTorch and for int8; left
            out, drawn lesions are compared
        int8: write graphs of 8-bit integers too, calibrated on the photographs, and say what is
            lost
        limit: at most so many photographs
        tolerance: largest difference of a probability from PyTorch's
        min_iou: smallest IoU of a mask with PyTorch's
    """

    out: Path
    stage: Literal["both", "segmenter", "classifier"] = "both"
    views: int | None = None
    photos: list[Path] = field(default_factory=list)
    int8: bool = False
    limit: int = 64
    tolerance: float = 1e-3
    min_iou: float = 0.995
