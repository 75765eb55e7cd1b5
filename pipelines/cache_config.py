"""Options of `lesion cache`. Plain data: nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lesioncore.config import DataOptions


@dataclass(frozen=True, kw_only=True)
class CacheInfoConfig:
    """Say what mask caches hold.

    Args:
        caches: cache folders
        json: print one JSON list instead of text
    """

    caches: list[Path]
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class CacheVerifyConfig:
    """Check every mask of caches; exit code 1 when anything is wrong.

    Args:
        caches: cache folders
        quick: compare checksums only, without unpacking the masks
        json: print one JSON object, folder to list of problems, instead of text
    """

    caches: list[Path]
    quick: bool = False
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class CacheMergeConfig:
    """Make one cache of several with the same fingerprint; the sources stay as they are.

    Args:
        caches: cache folders
        out: the new cache; must not exist yet, or be empty
    """

    caches: list[Path]
    out: Path


@dataclass(frozen=True, kw_only=True)
class CacheMeasureConfig(DataOptions):
    """Measure shape and colour of every lesion of a mask cache, into measurements.parquet there.

    Args:
        masks: cache folder; masks that are measured already are not measured again
        workers: loader processes; -1 chooses by the number of cores
        max_failed: exit with 1 when more masks than this could not be measured
    """

    masks: Path
    workers: int = -1
    max_failed: int = 0
