"""Writing a mask cache: every mask into the journal at once, every few thousand into a shard."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from lesioncore.cache.codec import ENCODINGS, encode_payload
from lesioncore.cache.entry import MaskEntry, MaskRow, row_of
from lesioncore.cache.fingerprint import check_fingerprint, fingerprint_sha256, plain
from lesioncore.cache.finished import FinishedMasks
from lesioncore.cache.index import (
    INDEX,
    describe_shard,
    next_name,
    read_index,
    shard_files,
    tool_version,
    write_index,
)
from lesioncore.cache.journal import JOURNAL, Item, Journal, read_journal
from lesioncore.cache.lock import FolderLock
from lesioncore.cache.shards import ShardFile, shard_image, write_durably
from lesioncore.errors import LesionError
from lesioncore.files import sha256_file, writing_to

LOCK = "writer.lock"
# A shard is closed early when its payloads reach this, so that memory stays small.
_SHARD_BYTES = 64 * 2**20


class MaskCacheWriter:
    """Write masks into a cache folder; the same call again goes on where the last one stopped.

    A mask is safe against the death of the process when `add` returns. Leaving the `with` block,
    by an error or Ctrl-C too, closes the open shard; `complete` says that all is there.

    Parameters
    ----------
    folder
        The cache; made where it does not exist.
    fingerprint
        What makes the masks, a nested dict of plain values. A folder made by something else is
        refused, naming the fields that differ.
    encoding : {"soft8", "bin1"}
        `bin1` stores soft masks thresholded at their own resolution.
    shard_size
        Masks a shard.
    writer
        Goes into the names of the shards, so that those of several processes can be told apart.
    quality_model
        Version and SHA-256 of what computes `quality`; recorded beside those before it, and never
        a reason to make a mask anew: quality decides no mask.

    Raises
    ------
    LesionError
        Another writer is at work, another fingerprint or encoding, no room, no permission.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        fingerprint: Mapping[str, Any],
        encoding: str = "soft8",
        shard_size: int = 4096,
        *,
        writer: str = "0",
        quality_model: Mapping[str, Any] | None = None,
    ) -> None:
        if encoding not in ENCODINGS:
            raise LesionError(
                f"unknown mask encoding {encoding!r}", wanted=f"one of: {', '.join(ENCODINGS)}"
            )
        if not re.fullmatch(r"[\w.]+", writer):
            raise LesionError(f"the writer's name {writer!r}", wanted="letters, digits, _ and .")
        if shard_size < 1:
            raise LesionError(f"a shard size of {shard_size}", wanted="1 or more")
        self.folder = Path(folder)
        self.encoding = encoding
        self._fingerprint = plain(fingerprint)
        self._shard_size = shard_size
        self._writer = writer
        self._pid = os.getpid()
        self._journal: Journal | None = None
        self._open_shard = ""  # the name that the journal's masks will get
        self._pending: dict[str, Item] = {}
        self._pending_bytes = 0
        self._shards: list[dict[str, Any]] = []
        self._complete = False
        self._quality_models: list[dict[str, Any]] = []
        self._quality_model = None if quality_model is None else plain(quality_model)
        _refuse_foreign(self.folder)
        with writing_to(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(self.folder / LOCK)
        try:
            self._resume()
        except BaseException:
            self._lock.release()
            raise

    def _resume(self) -> None:
        listed: list[dict[str, Any]] = []
        if (self.folder / INDEX).is_file():
            index = read_index(self.folder)
            check_fingerprint(index["fingerprint"], self._fingerprint, self.folder)
            _check_encoding(index["encoding"], self.encoding, self.folder)
            listed, self._complete = index["shards"], bool(index["complete"])
            self._quality_models = list(index.get("quality_models", []))
        elif shard_files(self.folder):
            raise LesionError(
                f"{self.folder} holds shards but no {INDEX}",
                wanted="a mask cache, or a folder without shards",
                mend=f"put the index back, choose another --out, or rm {self.folder}/shard-*.h5",
            )
        self._list_shards(listed)
        self._recover_journal()
        if not (self.folder / INDEX).is_file():
            self._write_index()
        self._finished = FinishedMasks(self._sealed_paths, self._pending)

    def _list_shards(self, listed: list[dict[str, Any]]) -> None:
        """Take the shards that are there: one may be lost, or newer than the index."""
        known = {shard["name"]: shard for shard in listed}
        for path in shard_files(self.folder):
            listing = known.get(path.name)
            if listing is None:
                listing = describe_shard(ShardFile(path), sha256_file(path))
            elif path.stat().st_size != listing["bytes"]:
                raise ShardFile.damaged(path, f"it had {listing['bytes']} bytes when written")
            self._shards.append(listing)
        if [shard["name"] for shard in self._shards] != list(known):
            self._complete = False

    def _recover_journal(self) -> None:
        path = self.folder / JOURNAL
        header, items, _ = read_journal(path)
        if not items or header["shard"] in {shard["name"] for shard in self._shards}:
            # Killed between moving the shard into place and removing the journal.
            path.unlink(missing_ok=True)
            return
        if header["fingerprint_sha256"] != fingerprint_sha256(self._fingerprint):
            raise LesionError(
                f"{path} was written with another fingerprint than {INDEX}",
                mend=f"delete {path}; the masks in it are made again",
            )
        for row, payload in items:
            self._keep(row, payload)
        self._complete = False
        self._open_shard = header["shard"]
        self._journal = Journal(path, header)

    @property
    def finished(self) -> Mapping[str, str]:
        """Image id to `image_sha256` of every mask made so far, edits aside."""
        return self._finished

    @property
    def counts(self) -> dict[str, int]:
        """How many rows have each status, edits aside."""
        counts: Counter[str] = Counter()
        for shard in self._shards:
            counts.update(shard["counts"])
        counts.update(row.status for row, _ in self._pending.values())
        return dict(counts)

    @property
    def quality_models(self) -> list[dict[str, Any]]:
        """Version and SHA-256 of each model that judged the masks made so far."""
        return list(self._quality_models)

    def add(self, entry: MaskEntry) -> None:
        """Write one mask. Once this returns, `kill -9` does not lose it.

        A second mask of an image replaces the first.

        Raises
        ------
        LesionError
            The disk is full (all masks before this one are kept), or the entry is not valid.
        """
        if not entry.image_id:
            raise LesionError("a mask without an image id")
        if self.encoding == "bin1":
            entry = entry.binary()
        payload = encode_payload(entry.payload, entry.encoding)
        row = row_of(entry)
        if self._quality_model is not None and self._quality_model not in self._quality_models:
            self._quality_models.append(self._quality_model)
        if self._complete:
            self._complete = False
            self._write_index()
        if self._journal is None:
            self._open_shard = next_name("shard", shard_files(self.folder), self._writer)
            header = {
                "shard": self._open_shard,
                "fingerprint_sha256": fingerprint_sha256(self._fingerprint),
            }
            self._journal = Journal(self.folder / JOURNAL, header)
        self._journal.append(row, payload)
        self._keep(row, payload)
        if len(self._pending) >= self._shard_size or self._pending_bytes >= _SHARD_BYTES:
            self.flush()

    def _keep(self, row: MaskRow, payload: bytes) -> None:
        before = self._pending.pop(row.image_id, None)
        self._pending[row.image_id] = (row, payload)
        self._pending_bytes += len(payload) - (len(before[1]) if before else 0)

    def flush(self) -> None:
        """Close the open shard: make it from the journal and move it into place."""
        if not self._pending:
            return
        path = self.folder / self._open_shard
        rows, payloads = zip(*self._pending.values(), strict=True)
        attributes = {
            "fingerprint_sha256": fingerprint_sha256(self._fingerprint),
            "tool_version": tool_version(),
            "writer": self._writer,
        }
        sha256 = write_durably(path, shard_image(rows, payloads, attributes=attributes))
        if self._journal is not None:
            self._journal.remove()
            self._journal = None
        self._pending.clear()
        self._pending_bytes = 0
        self._shards.append(describe_shard(ShardFile(path), sha256))
        self._finished.forget()
        self._write_index()

    def complete(self) -> None:
        """Say that all masks are there: close the open shard, then mark the index, last."""
        self.flush()
        self._complete = True
        self._write_index()

    def _sealed_paths(self) -> list[Path]:
        return [self.folder / shard["name"] for shard in self._shards]

    def _write_index(self) -> None:
        write_index(
            self.folder,
            fingerprint=self._fingerprint,
            encoding=self.encoding,
            shards=self._shards,
            counts=self.counts,
            complete=self._complete,
            quality_models=self._quality_models,
        )

    def close(self) -> None:
        """Close the open shard and let the next writer in."""
        if os.getpid() != self._pid:  # a forked worker must not write what its parent will
            return
        try:
            self.flush()
        finally:
            if self._journal is not None:
                self._journal.close()
                self._journal = None
            self._lock.release()

    def __enter__(self) -> MaskCacheWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
            return
        # The journal holds what cannot be closed now (a full disk); the first error matters more.
        with contextlib.suppress(LesionError, OSError):
            self.close()


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder that is something else: masks among a run's files would be lost with it."""
    if not folder.is_dir() or (folder / INDEX).is_file():
        return
    ours = re.compile(r"(shard|edits)-.*\.h5|journal\.bin|.*\.lock|\..*|measurements\.parquet")
    foreign = sorted(path.name for path in folder.iterdir() if not ours.fullmatch(path.name))
    if foreign:
        raise LesionError(
            f"{folder} is not empty and holds no mask cache (it has: {', '.join(foreign[:3])})",
            wanted="a mask cache, or an empty or a new folder",
            mend="choose another --out",
        )


def _check_encoding(found: str, wanted: str, folder: Path) -> None:
    if found != wanted:
        raise LesionError(
            f"the mask cache {folder} was made by something else: "
            f"encoding is {found!r} in the cache, {wanted!r} now",
            wanted=f"--encoding {found}",
            mend="choose another --out, or the encoding of the cache",
        )
