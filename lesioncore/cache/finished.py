"""Which images of a cache have a mask already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from lesioncore.cache.journal import Item
from lesioncore.cache.lookup import RowIndex
from lesioncore.cache.shards import ShardFile, open_files


class FinishedMasks(Mapping[str, str]):
    """Image id to `image_sha256` of the masks in shards and journal, edits aside.

    Takes 12 bytes a mask in shards, and is looked up as the reader is.

    Parameters
    ----------
    shards
        Gives the paths of the closed shards as they are now.
    pending
        The masks of the open shard, by image id; the writer's own, which changes.
    """

    def __init__(self, shards: Callable[[], list[Path]], pending: Mapping[str, Item]) -> None:
        self._shards = shards
        self._pending = pending
        self._index: RowIndex | None = None
        self._open: dict[Path, ShardFile] = {}

    def forget(self) -> None:
        """Look at the shards anew next time."""
        self._index = None

    @property
    def _sealed(self) -> RowIndex:
        if self._index is None:
            paths = self._shards()
            new = [path for path in paths if path not in self._open]
            self._open.update(zip(new, open_files(new, of=len(paths)), strict=True))
            self._index = RowIndex([self._open[path] for path in paths])
        return self._index

    def __getitem__(self, image_id: str) -> str:
        pending = self._pending.get(image_id)
        if pending is not None:
            return pending[0].image_sha256
        found = self._sealed.find(image_id)
        if found is None:
            raise KeyError(image_id)
        digest = bytes(found[0].value("image_sha256", found[1]))
        return digest.hex() if any(digest) else ""

    def __iter__(self) -> Iterator[str]:
        for file, rows in self._sealed.live():
            ids = file.texts("image_id", rows)
            yield from (image_id for image_id in ids if image_id not in self._pending)
        yield from list(self._pending)

    def __len__(self) -> int:
        again = sum(self._sealed.find(image_id) is not None for image_id in self._pending)
        return len(self._sealed) + len(self._pending) - again
