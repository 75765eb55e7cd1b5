"""Reading a crop cache."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clsstage.crops.crop import Crop, CropRow
from clsstage.crops.index import check_fingerprint, read_index
from clsstage.crops.shards import CropShard
from lesioncore.cache.columns import id_hash
from lesioncore.errors import LesionError

if TYPE_CHECKING:
    import pandas as pd

# Processes may often open no more than 1024 files, and a loader has some of its own.
_HELD_FILES = 256


class CropCache:
    """The crops of a folder. Threads, forked loader workers and pickling are safe.

    Parameters
    ----------
    folder
        The cache.
    fingerprint : optional
        Refuse crops of another one, naming the fields that differ.

    Raises
    ------
    LesionError
        There are no crops, they are not complete, a file is missing or damaged, or the
        fingerprint differs.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, fingerprint: Mapping[str, Any] | None = None
    ) -> None:
        self.folder = Path(folder)
        self._meta = read_index(self.folder)
        if fingerprint is not None:
            check_fingerprint(self._meta["fingerprint"], fingerprint, self.folder)
        if not self._meta["complete"]:
            raise LesionError(
                f"the crops in {self.folder} are not complete",
                wanted="a build that has finished",
                mend="give the command that makes them again; it goes on where it stopped",
            )
        self._open()

    def _open(self) -> None:
        names = [shard["name"] for shard in self._meta["shards"]]
        hold = len(names) <= _HELD_FILES
        self._shards = [CropShard(self.folder / name, hold=hold) for name in names]
        for shard in self._shards:
            if shard.attributes.get("fingerprint_sha256") != self._meta["fingerprint_sha256"]:
                raise LesionError(
                    f"{shard.path} belongs to other crops",
                    wanted="files of one build",
                    mend=f"rm -r {self.folder}, then the command that makes the crops",
                )
        self._starts = np.concatenate([[0], np.cumsum([len(s) for s in self._shards])])
        hashes = [shard.columns["id_hash"] for shard in self._shards]
        merged = np.concatenate(hashes) if hashes else np.zeros(0, "<u8")
        self._order = np.argsort(merged, kind="stable")
        self._hashes = merged[self._order].astype(np.uint64)

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "meta": self._meta}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.folder, self._meta = state["folder"], state["meta"]
        self._open()

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What the crops were made from and for."""
        return dict(self._meta["fingerprint"])

    @property
    def counts(self) -> dict[str, int]:
        """How many crops have each status."""
        return dict(self._meta["counts"])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __contains__(self, image_id: object) -> bool:
        return isinstance(image_id, str) and self._find(image_id) is not None

    def read(self, image_id: str) -> Crop:
        """Return the crop of an image.

        Raises
        ------
        LesionError
            There is none, the image could not be read when it was made, or its bytes are damaged.
        """
        shard, row = self._place(image_id)
        return shard.crop_at(row)

    def read_whole(self, image_id: str) -> NDArray[np.uint8]:
        """Return (h, w, 3) uint8 RGB: the whole image, as one without a mask is kept.

        Raises
        ------
        LesionError
            As `read`, or the crops were made for masks without errors and hold no whole images.
        """
        shard, row = self._place(image_id)
        return shard.whole_at(row)

    def row(self, image_id: str) -> CropRow:
        """Return what is known of a crop, without its pixels."""
        shard, row = self._place(image_id)
        return shard.row_at(row)

    def table(self) -> pd.DataFrame:
        """Return `image_id, status, reason, height, width` of all crops, as they were written."""
        import pandas as pd

        rows = [shard.row_at(at) for shard in self._shards for at in range(len(shard))]
        return pd.DataFrame(
            {
                "image_id": [row.image_id for row in rows],
                "status": [row.status for row in rows],
                "reason": [row.reason for row in rows],
                "height": [row.shape[0] for row in rows],
                "width": [row.shape[1] for row in rows],
            }
        )

    def _place(self, image_id: str) -> tuple[CropShard, int]:
        found = self._find(image_id)
        if found is None:
            raise LesionError(
                f"no crop of the image {image_id!r} in {self.folder}",
                wanted=f"one of its {len(self)} images",
                mend="give the command that made the crops, with that image in the data set",
            )
        return found

    def _find(self, image_id: str) -> tuple[CropShard, int] | None:
        wanted = np.uint64(id_hash(image_id))
        at = int(self._hashes.searchsorted(wanted))
        # Two ids with one hash stand side by side, so the id itself decides.
        while at < self._hashes.size and self._hashes[at] == wanted:
            position = int(self._order[at])
            number = int(np.searchsorted(self._starts, position, side="right")) - 1
            shard, row = self._shards[number], position - int(self._starts[number])
            if shard.columns["image_id"][row] == image_id.encode():
                return shard, row
            at += 1
        return None
