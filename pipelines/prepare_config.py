"""Flags of `lesion prepare`. Plain data: nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lesioncore.config import DataOptions
from lesioncore.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(DataOptions):
    """Check an archive and write its manifest, or draw synthetic lesions.

    With `patients`, `phantom` is a stand-in for ISIC 2024, made for benchmarks: small tiles in its
    layout (HDF5 of JPEG bytes, a table of 55 columns), read with `--dataset isic2024`.

    Args:
        out: folder for manifest.parquet, checks.json and checks.md; for `phantom` without a root
            also the archive itself
        check: look at nothing, at the headers of all files (sizes), or at all pixels (finds
            truncated files, empty masks and equal files; slower)
        images: false keeps rows whose image is not on disk (tables for audits)
        max_failed: exit with 1 when more files than this are unreadable or do not fit their mask
        size: for `phantom`: side of the pictures in pixels (a stand-in's tiles have 91 to 157)
        seed: for `phantom`: the same seed gives the same pictures
        prevalence: for `phantom`: part of the lesions that are malignant; left out 0.25, for a
            stand-in 393 of 401,059
        patients: for `phantom`: draw a stand-in for ISIC 2024 of N tiles of this many patients
            (1042 for N 401059); a run that was cut off goes on
        workers: processes that draw a stand-in; -1 is one a core
    """

    out: Path
    check: Literal["none", "headers", "pixels"] = "headers"
    images: bool = True
    max_failed: int = 0
    size: int = 128
    seed: int = 0
    prevalence: float | None = None
    patients: int | None = None
    workers: int = -1

    def __post_init__(self) -> None:
        if self.patients is None:
            return
        if self.dataset != "phantom" or self.root is not None:
            raise UsageError(
                "--patients is for a stand-in that is drawn",
                wanted="--dataset phantom without --root",
                mend="lesion prepare --dataset phantom --n 401059 --patients 1042 --out DIR",
            )
        if self.size != PrepareConfig.size:
            raise UsageError(
                f"--size is {self.size}",
                wanted="no --size: a stand-in's tiles have 91 to 157 pixels",
            )
