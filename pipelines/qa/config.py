"""Flags of `lesion qa` and `lesion qa export`. Plain data: nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lesioncore.config import DataOptions


@dataclass(frozen=True, kw_only=True)
class QaConfig(DataOptions):
    """Look through the masks of a cache in the browser: accept, reject, flag or mend each.

    Args:
        masks: mask cache to look through
        against: another cache of the same images, shown beside the first
        db: where decisions are kept, a SQLite file or postgresql://USER@HOST/NAME; left out,
            MASKS.qa.sqlite beside the cache
        host: address to listen at; away from this machine a key is asked for
        port: 0 takes a free one
        key: word that opens the pages; left out, none on this machine and a random one elsewhere
        reviewer: your name; left out, the page asks for it
        overlap: part of the images that two reviewers get, to see how well they agree
        audit: part of the images drawn at random and spread over the queue
        seed: of both draws
        subset: test is the archive's held-back list; all is every image
        test_list: auto (the archive's committed list), none, or a file of image ids
        assistant: what turns clicks and boxes into masks; auto (LiteMedSAM, of the extra
            offline), none, or a run folder of a segmenter lite_medsam or sam
    """

    masks: Path
    against: Path | None = None
    db: str | None = None
    host: str = "127.0.0.1"
    port: int = 8760
    key: str | None = None
    reviewer: str | None = None
    overlap: float = 0.0
    audit: float = 0.05
    seed: int = 0
    subset: Literal["test", "all"] = "all"
    test_list: str = "auto"
    assistant: str = "auto"

    def __post_init__(self) -> None:
        for name in ("overlap", "audit"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: wanted a part, 0 to 1")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port is {self.port}: wanted 0 to 65535")


@dataclass(frozen=True, kw_only=True)
class QaExportConfig:
    """Write what reviewers decided: into the cache, as PNG masks, and as tables.

    Args:
        masks: mask cache that was looked through; edits are written into it
        db: where the decisions are; left out, MASKS.qa.sqlite beside the cache
        out: folder for <image_id>_segmentation.png, decisions.csv and agreement.json
        rejected: empty writes an empty mask, so that stage 2 sees the image whole; keep leaves the
            mask in the cache as it is, and the rejection is in decisions.csv alone
        accepted: write accepted masks into the cache too, so that stage 2 trusts them whatever
            their quality
        png: write the PNG masks
    """

    masks: Path
    db: str | None = None
    out: Path = Path("reviewed")
    rejected: Literal["empty", "keep"] = "empty"
    accepted: bool = False
    png: bool = True
