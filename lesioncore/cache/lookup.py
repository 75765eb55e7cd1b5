"""From an image id to a file and a row: one binary search over sorted 64-bit hashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesioncore.cache.columns import id_hash
from lesioncore.cache.shards import ShardFile


class RowIndex:
    """Where the row that counts lies, for every image id in some files.

    Holds 12 bytes a row (hash and position). Where an id has several rows, the highest revision
    counts, then the later file, then the later row; but a person's edit counts only for the image
    bytes it was made on.
    """

    def __init__(self, files: Sequence[ShardFile]) -> None:
        self.files = list(files)
        counts = [file.count for file in self.files]
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        hashes = [file.column("id_hash") for file in self.files if file.count]
        merged: NDArray[Any] = np.concatenate(hashes) if hashes else np.zeros(0, "<u8")
        order = np.argsort(merged, kind="stable")
        self._hashes = np.ascontiguousarray(merged[order], np.uint64)
        self._rows = order.astype(np.uint32 if merged.size < 2**32 else np.int64)
        self._drop_losers()

    def _drop_losers(self) -> None:
        same = self._hashes[1:] == self._hashes[:-1]
        if not same.any():
            return
        keep = np.ones(self._hashes.size, bool)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
        for first, last in edges.reshape(-1, 2):
            by_id: dict[str, list[int]] = {}
            for at in range(first, last + 1):
                file, row = self._place(at)
                by_id.setdefault(file.id_at(row), []).append(at)
            for group in by_id.values():
                keep[group] = False
                keep[self._winner(group)] = True
        self._hashes, self._rows = self._hashes[keep], self._rows[keep]

    def _winner(self, group: list[int]) -> int:
        # Within a hash the stable sort left file and row order, so later means newer.
        revisions, images = {}, {}
        for at in group:
            file, row = self._place(at)
            revisions[at] = int(file.value("revision", row))
            images[at] = bytes(file.value("image_sha256", row))
        models = [at for at in group if revisions[at] == 0]
        edits = [at for at in group if revisions[at] > 0]
        if models:
            current = images[models[-1]]
            unknown = bytes(32)
            edits = [at for at in edits if current == unknown or images[at] in (current, unknown)]
        return max(edits, key=lambda at: (revisions[at], at)) if edits else models[-1]

    def _place(self, at: int) -> tuple[ShardFile, int]:
        position = int(self._rows[at])
        number = int(np.searchsorted(self._starts, position, side="right")) - 1
        return self.files[number], position - int(self._starts[number])

    def find(self, image_id: str) -> tuple[ShardFile, int] | None:
        """Return the file and the row of an image, or None."""
        wanted = np.uint64(id_hash(image_id))
        at = int(self._hashes.searchsorted(wanted))
        # Two ids with one hash stand side by side, so the id itself decides.
        while at < self._hashes.size and self._hashes[at] == wanted:
            file, row = self._place(at)
            if file.id_at(row) == image_id:
                return file, row
            at += 1
        return None

    def __len__(self) -> int:
        return int(self._hashes.size)

    def live(self) -> Iterator[tuple[ShardFile, NDArray[np.int64]]]:
        """Yield each file with the rows of it that count, in the order they were written."""
        positions = np.sort(self._rows.astype(np.int64))
        bounds = np.searchsorted(positions, self._starts)
        for number, file in enumerate(self.files):
            rows = positions[bounds[number] : bounds[number + 1]]
            if rows.size:
                yield file, rows - self._starts[number]

    @property
    def nbytes(self) -> int:
        """Memory of the index, bytes."""
        return int(self._hashes.nbytes + self._rows.nbytes)
