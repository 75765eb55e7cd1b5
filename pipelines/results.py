"""What the steps of a run left behind: whether it is whole, and what identifies it."""

from __future__ import annotations

from pathlib import Path

from lesioncore.files import read_json, sha256_file


def run_is_complete(folder: Path) -> bool:
    """Return whether a stage's run folder holds a finished training."""
    path = folder / "run.json"
    return path.is_file() and bool(read_json(path).get("complete"))


def weights_of(folder: Path) -> list[str] | None:
    """Return the SHA-256 of each member's weights, None while the training is not finished."""
    if not run_is_complete(folder):
        return None
    cards = sorted(folder.glob("member-*/card.json"), key=lambda p: int(p.parent.name[7:]))
    return [str(read_json(card)["sha256"]) for card in cards]


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
