"""Several caches of one segmenter made into one."""

from __future__ import annotations

import os
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from lesioncore.cache.entry import MaskEntry
from lesioncore.cache.fingerprint import check_fingerprint
from lesioncore.cache.index import describe_shard, quality_models, read_index, write_index
from lesioncore.cache.journal import JOURNAL, read_journal
from lesioncore.cache.lookup import RowIndex
from lesioncore.cache.measured import merge_measurements
from lesioncore.cache.reader import MaskCache
from lesioncore.cache.shards import ShardFile, payload_offsets, write_durably
from lesioncore.cache.verify import Track
from lesioncore.errors import LesionError
from lesioncore.files import sha256_file, writing_to

Rows = NDArray[np.int64]
# What is said of a mask after it is made: equal masks may differ in it.
JUDGEMENT = frozenset({"quality", "reason"})


def merge_caches(
    sources: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    track: Track | None = None,
) -> MaskCache:
    """Make one cache of several that have the same fingerprint; the sources stay as they are.

    Shards are copied as they are, unknown columns and all, without unpacking a mask; rows that do
    not count any more (made again later, or the same in two sources) are left out. Where one
    source failed on an image and another did not, the mask is taken. Edits come along. The result
    appears whole or not at all.

    Parameters
    ----------
    sources
        Cache folders.
    out
        A folder that does not exist yet, or is empty.
    track
        Wraps the loop over files, for a progress bar.

    Raises
    ------
    LesionError
        Fingerprints or encodings differ, a source has a journal (a killed run not yet gone on
        with), `out` is in use, or two sources have different masks of one image: named.
    """
    target = Path(out)
    folders = [Path(source) for source in sources]
    indexes = _checked(folders, target)
    caches = [MaskCache(folder) for folder in folders]
    models = [_files(cache, "shard-") for cache in caches]
    edits = [_files(cache, "edits-") for cache in caches]
    keep = _choose_rows(models, folders)
    _refuse_conflicting_edits(edits, folders)
    with writing_to(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        work = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        work.mkdir()
        try:
            shards = _copy_shards(keep, _listed(folders, indexes), work, track)
            _copy_edits(edits, work)
            counts: Counter[str] = Counter()
            for shard in shards:
                counts.update(shard["counts"])
            write_index(
                work,
                fingerprint=indexes[0]["fingerprint"],
                encoding=indexes[0]["encoding"],
                shards=shards,
                counts=counts,
                complete=all(index["complete"] for index in indexes),
                quality_models=quality_models(indexes),
            )
            merge_measurements(folders, work)
            work.replace(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return MaskCache(target)


def _checked(folders: list[Path], target: Path) -> list[dict[str, Any]]:
    if not folders:
        raise LesionError("nothing to merge", wanted="two cache folders or more")
    resolved = [folder.resolve() for folder in folders]
    twice = [str(folder) for folder, n in Counter(resolved).items() if n > 1]
    if twice:
        raise LesionError(f"the cache {twice[0]} is named twice", wanted="each source once")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise LesionError(
            f"{target} is in use", wanted="a folder that does not exist yet, or is empty",
            mend="choose another --out",
        )  # fmt: skip
    indexes = [read_index(folder) for folder in folders]
    for folder, index in zip(folders[1:], indexes[1:], strict=True):
        check_fingerprint(index["fingerprint"], indexes[0]["fingerprint"], folder)
        if index["encoding"] != indexes[0]["encoding"]:
            raise LesionError(
                f"{folder} holds {index['encoding']} masks, {folders[0]} {indexes[0]['encoding']}",
                wanted="caches of one encoding",
            )
    for folder in folders:
        waiting = len(read_journal(folder / JOURNAL)[1])
        if waiting:
            raise LesionError(
                f"{folder} holds {waiting} masks in {JOURNAL}: its run was killed or still goes on",
                wanted="caches whose runs have ended",
                mend="give the `segstage cache` command of that folder again, then merge",
            )
    return indexes


def _files(cache: MaskCache, kind: str) -> list[ShardFile]:
    return [file for file in cache.files if file.path.name.startswith(kind)]


def _choose_rows(
    models: list[list[ShardFile]], folders: list[Path]
) -> list[tuple[ShardFile, Rows]]:
    """Return which rows of which shards go on: one an image, in the order of the sources."""
    parts = [
        (file, rows, folder)
        for files, folder in zip(models, folders, strict=True)
        for file, rows in RowIndex(files).live()
    ]
    keep = [np.ones(rows.size, bool) for _, rows, _ in parts]
    conflicts = []
    for group in _same_image(parts):
        best = group[0]
        for other in group[1:]:
            loser, differing = _compare(_owner(parts, best), _owner(parts, other))
            part, at = best if loser == 0 else other
            keep[part][at] = False
            best = other if loser == 0 else best
            conflicts += [differing] if differing else []
    _raise_conflicts(conflicts)
    return [(file, rows[keep[n]]) for n, (file, rows, _) in enumerate(parts)]


Part = tuple[ShardFile, Rows, Path]
Place = tuple[int, int]  # which part, and which of its rows
Owner = tuple[ShardFile, int, Path]


def _owner(parts: list[Part], place: Place) -> Owner:
    file, rows, folder = parts[place[0]]
    return file, int(rows[place[1]]), folder


def _same_image(parts: list[Part]) -> Iterator[list[Place]]:
    """Yield the places of each image that several sources have; only those cost Python time."""
    if not parts:
        return
    hashes = np.concatenate([file.column("id_hash")[rows] for file, rows, _ in parts])
    starts = np.concatenate([[0], np.cumsum([rows.size for _, rows, _ in parts])])
    order = np.argsort(hashes, kind="stable")
    same = np.diff(hashes[order].astype(np.uint64)) == 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    for first, last in edges.reshape(-1, 2):
        by_id: dict[str, list[Place]] = {}
        for position in order[first : last + 1].tolist():
            part = int(np.searchsorted(starts, position, side="right")) - 1
            place = part, position - int(starts[part])
            file, row, _ = _owner(parts, place)
            by_id.setdefault(file.id_at(row), []).append(place)
        yield from (group for group in by_id.values() if len(group) > 1)


def _compare(first: Owner, second: Owner) -> tuple[int, str]:
    """Return which of two masks of one image to leave out, and how they differ if both count."""
    a, b = first[0].entry_at(first[1]), second[0].entry_at(second[1])
    if a.status == "failed" and b.status != "failed":
        return 0, ""
    if b.status == "failed":
        return 1, ""
    names = differing_fields(a, b)
    if set(names) <= JUDGEMENT:
        return (0 if a.quality is None else 1), ""
    return 1, f"{a.image_id} differs in {', '.join(names)} between {first[2]} and {second[2]}"


def differing_fields(a: MaskEntry, b: MaskEntry) -> list[str]:
    """Return the names of the fields in which two entries differ."""
    return [
        name
        for name in MaskEntry.__dataclass_fields__
        if not np.array_equal(getattr(a, name), getattr(b, name))
    ]


def _refuse_conflicting_edits(edits: list[list[ShardFile]], folders: list[Path]) -> None:
    """Refuse two edits of one image with one revision and different masks."""
    seen: dict[tuple[str, int], tuple[MaskEntry, Path]] = {}
    conflicts = []
    for files, folder in zip(edits, folders, strict=True):
        for file in files:
            for row in range(file.count):
                entry = file.entry_at(row)
                key = (entry.image_id, entry.revision)
                before = seen.setdefault(key, (entry, folder))
                if before[1] != folder and differing_fields(before[0], entry):
                    conflicts.append(
                        f"{entry.image_id} was edited differently (revision {entry.revision}) in "
                        f"{before[1]} and {folder}"
                    )
    _raise_conflicts(conflicts)


def _raise_conflicts(conflicts: list[str]) -> None:
    if not conflicts:
        return
    more = f"; and {len(conflicts) - 10} more" if len(conflicts) > 10 else ""
    raise LesionError(
        f"{len(conflicts)} images have different masks in the sources: "
        + "; ".join(conflicts[:10])
        + more,
        wanted="one mask an image, or equal ones",
        mend="make the masks of one source anew, or leave that source out",
    )


def _listed(folders: list[Path], indexes: list[dict[str, Any]]) -> dict[Path, str]:
    """Return the SHA-256 with which each shard was written; one that a kill kept out has none."""
    return {
        folder / shard["name"]: shard["sha256"]
        for folder, index in zip(folders, indexes, strict=True)
        for shard in index["shards"]
    }


def _copy_shards(
    keep: list[tuple[ShardFile, Rows]],
    listed: dict[Path, str],
    work: Path,
    track: Track | None,
) -> list[dict[str, Any]]:
    rows_of = {file.path: rows for file, rows in keep if rows.size}
    files = {file.path: file for file, _ in keep}
    shards: list[dict[str, Any]] = []
    for path in track(list(rows_of), "merge masks") if track else rows_of:
        suffix = path.name.split("-", 2)[2]
        target = work / f"shard-{len(shards):05d}-{suffix}"
        written = sha256_file(path)
        # Or a damaged mask would go on under a checksum that is made anew.
        if listed.get(path, written) != written:
            raise ShardFile.damaged(path, "it has other bytes than when it was written (SHA-256)")
        if rows_of[path].size == files[path].rows:
            shutil.copyfile(path, target)
            shards.append(describe_shard(ShardFile(target), written))
        else:
            sha256 = write_durably(target, select_rows(files[path], rows_of[path]))
            shards.append(describe_shard(ShardFile(target), sha256))
    return shards


def _copy_edits(edits: list[list[ShardFile]], work: Path) -> None:
    number, seen = 0, set()
    for file in (file for files in edits for file in files):
        digest = sha256_file(file.path)
        if digest in seen:
            continue
        seen.add(digest)
        suffix = file.path.name.split("-", 2)[2]
        shutil.copyfile(file.path, work / f"edits-{number:05d}-{suffix}")
        number += 1


def select_rows(file: ShardFile, rows: Rows) -> bytes:
    """Return a shard with only some rows of another; what we do not know comes along."""
    payloads = [file.payload_bytes(row) for row in rows.tolist()]
    with (
        h5py.File(file.path, "r", locking=False) as old,
        h5py.File("shard", "w", driver="core", backing_store=False) as new,
    ):
        for name, value in old.attrs.items():
            new.attrs[name] = value
        for name, item in old.items():
            per_row = isinstance(item, h5py.Dataset) and item.shape[:1] == (file.rows,)
            if per_row and name != "reasons":
                new.create_dataset(name, data=item[()][rows], dtype=item.dtype)
            elif name != "mask":
                old.copy(name, new)
        new["mask/data"] = np.frombuffer(b"".join(payloads), np.uint8)
        new["mask/offset"] = payload_offsets(payloads)
        new["mask/checksum"] = old["mask/checksum"][:][rows]
        new.flush()
        image: bytes = new.id.get_file_image()
        return image
