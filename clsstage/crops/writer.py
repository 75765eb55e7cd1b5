"""Writing a crop cache: shard after shard, each whole or not there, `complete` last."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from clsstage.crops.index import INDEX, check_fingerprint, read_index, write_index
from clsstage.crops.shards import CropShard, Item, shard_image
from lesioncore.cache.fingerprint import fingerprint_sha256, plain
from lesioncore.cache.lock import FolderLock
from lesioncore.cache.shards import write_durably
from lesioncore.errors import LesionError
from lesioncore.files import writing_to
from lesioncore.runs import tool_version

LOCK = "writer.lock"
_SHARD = re.compile(r"crops-(\d{5,})\.h5")
# What a kill can lose, and what a writer holds in memory.
_SHARD_ROWS = 4096
_SHARD_BYTES = 64 * 2**20


class CropWriter:
    """Write crops into a folder; the same call again goes on where the last one stopped.

    Leaving the `with` block, by an error or Ctrl-C too, closes the open shard; `kill -9` loses
    that one only.

    Parameters
    ----------
    folder
        Made where it does not exist.
    fingerprint
        What the crops are made from and for. A folder of other crops is refused.
    shard_rows
        Crops a shard, at most.

    Raises
    ------
    LesionError
        Another writer is at work, another fingerprint, something else in the folder, no room.
    """

    def __init__(
        self, folder: Path, fingerprint: Mapping[str, Any], *, shard_rows: int = _SHARD_ROWS
    ) -> None:
        self.folder = folder
        self._fingerprint = plain(fingerprint)
        self._sha256 = fingerprint_sha256(fingerprint)
        self._shard_rows = shard_rows
        self._pid = os.getpid()
        self._items: list[Item] = []
        self._bytes = 0
        self._shards: list[dict[str, Any]] = []
        self._finished: set[str] = set()
        self._refuse_others()
        with writing_to(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(
                folder / LOCK, what="the crop cache", wanted="one writer a folder"
            )
        try:
            self._resume()
        except BaseException:
            self._lock.release()
            raise

    def _refuse_others(self) -> None:
        if not self.folder.is_dir():
            return
        if (self.folder / INDEX).is_file():
            found = read_index(self.folder)["fingerprint"]
            check_fingerprint(found, self._fingerprint, self.folder)
            return
        foreign = sorted(p.name for p in self.folder.iterdir() if not p.name.startswith("."))
        if foreign and foreign != [LOCK]:
            raise LesionError(
                f"{self.folder} is not empty and holds no crops (it has: {', '.join(foreign[:3])})",
                wanted="a crop cache, or an empty or a new folder",
                mend="choose another --crops",
            )

    def _resume(self) -> None:
        # Half-written files of a killed writer; their names begin with a dot.
        for left in self.folder.glob(".crops-*.h5"):
            left.unlink(missing_ok=True)
        for path in sorted(p for p in self.folder.iterdir() if _SHARD.fullmatch(p.name)):
            shard = CropShard(path)
            if shard.attributes.get("fingerprint_sha256") != self._sha256:
                raise LesionError(
                    f"{path} belongs to other crops",
                    wanted="files of one build",
                    mend=f"rm -r {self.folder}, or another --crops",
                )
            self._take(shard)
        self._write_index(complete=False)

    @property
    def finished(self) -> set[str]:
        """Ids of the images whose crops are made, failed ones too."""
        return self._finished

    @property
    def counts(self) -> dict[str, int]:
        """How many finished crops have each status."""
        counts: Counter[str] = Counter()
        for shard in self._shards:
            counts.update(shard["counts"])
        return dict(counts)

    def add(self, item: Item) -> None:
        """Write one crop, into the open shard."""
        self._items.append(item)
        self._bytes += sum(map(len, item[1]))
        if len(self._items) >= self._shard_rows or self._bytes >= _SHARD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Close the open shard: write it and move it into place."""
        if not self._items:
            return
        numbers = [int(shard["name"][6:-3]) for shard in self._shards]
        path = self.folder / f"crops-{max(numbers, default=-1) + 1:05d}.h5"
        attributes = {"fingerprint_sha256": self._sha256, "tool_version": tool_version()}
        write_durably(path, shard_image(self._items, attributes))
        self._items, self._bytes = [], 0
        self._take(CropShard(path))
        self._write_index(complete=False)

    def complete(self) -> None:
        """Say that all crops are there; written last."""
        self.flush()
        self._write_index(complete=True)

    def _take(self, shard: CropShard) -> None:
        self._finished.update(shard.ids())
        counts = Counter(value.decode() for value in shard.columns["status"].tolist())
        self._shards.append(
            {
                "name": shard.path.name,
                "rows": len(shard),
                "bytes": shard.path.stat().st_size,
                "counts": dict(counts),
            }
        )

    def _write_index(self, *, complete: bool) -> None:
        write_index(
            self.folder,
            fingerprint=self._fingerprint,
            shards=self._shards,
            counts=self.counts,
            complete=complete,
        )

    def __enter__(self) -> CropWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if os.getpid() != self._pid:  # a forked worker must not write what its parent will
            return
        try:
            self.flush()
        except (LesionError, OSError):
            if error is None:  # else the first error matters more
                raise
        finally:
            self._lock.release()
