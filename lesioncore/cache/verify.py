"""Is every mask of a cache what it was when it was written?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lesioncore import geometry
from lesioncore.cache.columns import id_hash
from lesioncore.cache.entry import STATUSES, MaskEntry
from lesioncore.cache.index import INDEX, edits_files, read_index, shard_files
from lesioncore.cache.journal import JOURNAL, read_journal
from lesioncore.cache.measured import measurement_problems
from lesioncore.cache.reader import MaskCache
from lesioncore.cache.shards import ShardFile
from lesioncore.errors import LesionError
from lesioncore.files import sha256_file

Track = Callable[[Iterable[Path], str], Iterable[Path]]


def verify_cache(
    folder: str | os.PathLike[str], *, quick: bool = False, track: Track | None = None
) -> list[str]:
    """Return what is wrong with a cache, one line a fault; an empty list when all is well.

    Compares the files with the index (names, sizes, SHA-256) and each payload with its checksum,
    unpacks each mask, and compares box, area and status with the mask itself. The keys of
    `measurements.parquet` are looked at once the masks are sound.

    Parameters
    ----------
    folder
        The cache.
    quick
        Leave out unpacking the masks: checksums only.
    track
        Wraps the loop over files, for a progress bar.

    Raises
    ------
    LesionError
        There is no cache in `folder`, or its index cannot be read.
    """
    where = Path(folder)
    index = read_index(where)
    listed = {shard["name"]: shard for shard in index["shards"]}
    shards, edits = shard_files(where), edits_files(where)
    problems = [*_folder_problems(where, index, [path.name for path in shards])]
    files = [*shards, *edits]
    for path in track(files, "verify masks") if track else files:
        changed = None
        if path.name in listed:
            changed = _changed_bytes(path, listed[path.name])
            if changed:
                problems.append(changed)
        try:
            file = ShardFile(path)
        except LesionError as error:
            problems.append(error.found)
            continue
        if path in shards and file.attributes.get("fingerprint_sha256") != index.get(
            "fingerprint_sha256"
        ):
            problems.append(f"{path.name} belongs to a cache of another fingerprint")
        for row in range(file.count):
            # Unpacking by columns that are known to be damaged could ask for any amount of memory.
            lines = _row_problems(file, row, quick or bool(changed))
            problems += [f"{path.name}: {line}" for line in lines]
    return problems or measurement_problems(MaskCache(where))


def _folder_problems(folder: Path, index: dict[str, Any], found: list[str]) -> list[str]:
    problems = []
    listed = [shard["name"] for shard in index["shards"]]
    problems += [f"{name} is missing" for name in listed if name not in found]
    journal = folder / JOURNAL
    waiting = len(read_journal(journal)[1])
    if index["complete"]:
        problems += [f"{name} is not in {INDEX}" for name in found if name not in listed]
        if waiting:
            problems.append(f"{INDEX} says complete, but {JOURNAL} holds {waiting} masks")
    else:
        line = f"the cache is not complete: {sum(s['rows'] for s in index['shards'])} masks in "
        line += f"{len(listed)} shards and {waiting} in {JOURNAL}; give the same `segstage cache` "
        problems.append(line + "command again to finish it")
    return problems


def _changed_bytes(path: Path, listed: dict[str, Any]) -> str | None:
    size = path.stat().st_size
    if size != listed["bytes"]:
        return f"{path.name} has {size} bytes, {listed['bytes']} when it was written"
    if sha256_file(path) != listed["sha256"]:
        return f"{path.name} has other bytes than when it was written (SHA-256)"
    return None


def _row_problems(file: ShardFile, row: int, quick: bool) -> list[str]:
    name = f"row {row}"
    try:
        name = repr(file.id_at(row))
        if int(file.value("id_hash", row)) != id_hash(file.id_at(row)):
            return [f"{name}: id_hash does not belong to the image id"]
        if quick:
            file.payload_bytes(row)
            return []
        return [f"{name}: {line}" for line in entry_problems(file.entry_at(row))]
    except LesionError as error:
        return [f"{name}: {error.found}"]
    except Exception as error:  # whatever a damaged row makes NumPy, OpenCV or zlib say
        return [f"{name}: its row cannot be read ({error})"]


def entry_problems(entry: MaskEntry) -> list[str]:
    """Return where the row of a mask does not describe the mask."""
    if entry.status not in STATUSES:
        return [f"unknown status {entry.status!r}"]
    if entry.status == "failed":
        return [] if entry.reason else ["failed without a reason"]
    mask = entry.mask()
    problems = []
    area, box = int(np.count_nonzero(mask)), geometry.mask_box(mask)
    if area != entry.area:
        problems.append(f"area is {entry.area}, the mask has {area} pixels")
    if box != entry.box:
        problems.append(f"box is {entry.box}, the mask spans {box}")
    if entry.status != "edited" and (entry.status == "empty") != (area == 0):
        problems.append(f"status is {entry.status!r}, the mask has {area} pixels")
    return problems
