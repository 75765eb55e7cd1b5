"""Flags of `lesion prepare`. Plain data: nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lesioncore.config import DataOptions


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(DataOptions):
    """Check an archive and write its manifest, or draw synthetic lesions.

    Args:
        out: folder for manifest.parquet, checks.json and checks.md; for `phantom` without a root
            also the archive itself
        check: look at nothing, at the headers of all files (sizes), or at all pixels (finds
            truncated files, empty masks and equal files; slower)
        images: false keeps rows whose image is not on disk (tables for audits)
        max_failed: exit with 1 when more files than this are unreadable or do not fit their mask
        size: for `phantom`: side of the pictures in pixels
        seed: for `phantom`: the same seed gives the same pictures
        prevalence: for `phantom`: part of the lesions that are malignant
    """

    out: Path
    check: Literal["none", "headers", "pixels"] = "headers"
    images: bool = True
    max_failed: int = 0
    size: int = 128
    seed: int = 0
    prevalence: float = 0.25
