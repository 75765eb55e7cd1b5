"""What the steps of a run left behind: whether it is whole, and what identifies it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lesioncore.files import read_json, sha256_file, sha256_json


def run_is_complete(folder: Path) -> bool:
    """Return whether a stage's run folder holds a finished training."""
    path = folder / "run.json"
    return path.is_file() and bool(read_json(path).get("complete"))


def members_of(folder: Path) -> list[str] | None:
    """Return what identifies each member, None while the training is not finished.

    That is a hash of its weights and of how they are used: the same weights with another threshold
    draw other masks.
    """
    if not run_is_complete(folder):
        return None
    used = ("sha256", "architecture", "preprocessing", "postprocessing")
    return [sha256_json({key: card.get(key) for key in used}) for card in _cards(folder)]


def made_the_masks(folder: Path, cache: Path) -> bool:
    """Return whether the finished stage 1 in `folder` is the segmenter of a mask cache."""
    from lesioncore.cache import MaskCache

    if not run_is_complete(folder):
        return False
    made_by, cards = MaskCache(cache).fingerprint, _cards(folder)
    return made_by.get("segmenter", {}).get("weights_sha256") == [
        card["sha256"] for card in cards
    ] and all(made_by.get(key) == cards[0][key] for key in ("preprocessing", "postprocessing"))


def _cards(folder: Path) -> list[dict[str, Any]]:
    paths = sorted(folder.glob("member-*/card.json"), key=lambda p: int(p.parent.name[7:]))
    return [read_json(path) for path in paths]


def cache_is_complete(folder: Path) -> bool:
    """Return whether a mask cache holds a mask of every image it was made for."""
    from lesioncore.cache import MaskCache

    return (folder / "index.json").is_file() and MaskCache(folder).complete


def masks_of(folder: Path) -> str | None:
    """Return what identifies the cached masks, edits included; None without a cache."""
    from lesioncore.cache import MaskCache

    return MaskCache(folder).snapshot if (folder / "index.json").is_file() else None


def discard_masks(folder: Path) -> None:
    """Take the masks of a segmenter out of a cache; what people edited stays."""
    from lesioncore.cache.index import INDEX, shard_files
    from lesioncore.cache.journal import JOURNAL

    # The index last: until then the folder is refused and never taken for another cache.
    for path in [*shard_files(folder), folder / JOURNAL, folder / INDEX]:
        path.unlink(missing_ok=True)


def digest_of(path: Path) -> str | None:
    """Return the SHA-256 of a file, None where there is none."""
    return sha256_file(path) if path.is_file() else None
