"""Flags of `lesion explain`. Plain data: nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.config import PhotoOptions


@dataclass(frozen=True, kw_only=True)
class ExplainConfig(PhotoOptions):
    """Show why photographs got their probability: a picture each, and a table.

    Args:
        out: folder for the pictures and explanations.csv
        method: grad_cam (what speaks for malignancy) or rollout (where a transformer looks)
        features: file that `clsstage features --weights CLASSIFIER` made of known lesions; the
            nearest of them are shown
        dataset: archive of those lesions, for their pictures and diagnoses
        root: folder of that archive
        nearest: how many of them
    """

    out: Path = Path("explanations")
    method: Literal["grad_cam", "rollout"] = "grad_cam"
    features: Path | None = None
    dataset: str | None = None
    root: Path | None = None
    nearest: int = 5
