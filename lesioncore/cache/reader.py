"""Reading a mask cache."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lesioncore.cache import columns
from lesioncore.cache.entry import MaskEntry, MaskRow
from lesioncore.cache.fingerprint import check_fingerprint
from lesioncore.cache.index import edits_files, read_index, shard_files
from lesioncore.cache.lookup import RowIndex
from lesioncore.cache.shards import ShardFile, open_files
from lesioncore.errors import LesionError
from lesioncore.files import sha256_json

if TYPE_CHECKING:
    import pandas as pd

PathLike = str | os.PathLike[str]


class MaskCache:
    """The masks of a cache folder, as they are when it is opened.

    Look-ups are one binary search; nothing but 12 bytes a mask is held in memory. Threads, forked
    loader workers and pickling are safe: a copy that travels by pickle opens the same files with
    the same rows, so what people edit meanwhile does not reach half of the workers.

    Parameters
    ----------
    folder
        The cache.
    fingerprint : optional
        Refuse a cache of another one, naming the fields that differ.

    Raises
    ------
    LesionError
        There is no cache, a file of it is missing or damaged, or the fingerprint differs.
    """

    def __init__(self, folder: PathLike, *, fingerprint: Mapping[str, Any] | None = None) -> None:
        self.folder = Path(folder)
        index = read_index(self.folder)
        if fingerprint is not None:
            check_fingerprint(index["fingerprint"], fingerprint, self.folder)
        # A complete index names its shards, so a lost one is noticed; before that, what is there
        # counts.
        names = (
            [shard["name"] for shard in index["shards"]]
            if index["complete"]
            else [path.name for path in shard_files(self.folder)]
        )
        files: list[tuple[str, int | None]] = [(name, None) for name in names]
        files += [(path.name, None) for path in edits_files(self.folder)]
        self._open(index, files)

    def _open(self, index: dict[str, Any], files: list[tuple[str, int | None]]) -> None:
        self._meta = index
        paths = [self.folder / name for name, _ in files]
        opened = open_files(paths, [limit for _, limit in files])
        wanted = index["fingerprint_sha256"]
        for file in opened:
            found = file.attributes.get("fingerprint_sha256", wanted)
            if file.path.name.startswith("shard-") and found != wanted:
                raise LesionError(
                    f"{file.path} belongs to another cache (fingerprint {found[:12]})",
                    wanted=f"shards of fingerprint {wanted[:12]}",
                    mend="take the file out of the folder",
                )
        self._index = RowIndex(opened)

    def __getstate__(self) -> dict[str, Any]:
        files = [(file.path.name, file.count) for file in self._index.files]
        return {"folder": self.folder, "meta": self._meta, "files": files}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.folder = state["folder"]
        self._open(state["meta"], state["files"])

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What made the masks."""
        fingerprint: dict[str, Any] = self._meta["fingerprint"]
        return fingerprint

    @property
    def quality_models(self) -> list[dict[str, Any]]:
        """Version and SHA-256 of each model that judged masks, the first one first."""
        return list(self._meta.get("quality_models", []))

    @property
    def complete(self) -> bool:
        """Whether the run that makes the cache has finished."""
        return bool(self._meta["complete"])

    @property
    def encoding(self) -> str:
        """The encoding that the cache was made with (edits are always `bin1`)."""
        return str(self._meta["encoding"])

    @property
    def snapshot(self) -> str:
        """SHA-256 over the rows that this reader sees, for a training run to pin."""
        listed = {shard["name"]: shard["sha256"] for shard in self._meta["shards"]}
        files = [
            [file.path.name, file.count, listed.get(file.path.name, "")]
            for file in self._index.files
        ]
        return sha256_json([self._meta["fingerprint_sha256"], files])

    @property
    def counts(self) -> dict[str, int]:
        """How many masks have each status, edits counted as what they are now."""
        counts: Counter[str] = Counter()
        for file, rows in self._index.live():
            counts.update(file.texts("status", rows))
        return dict(counts)

    @property
    def files(self) -> list[ShardFile]:
        """The shards, then the edits files, oldest first."""
        return self._index.files

    @property
    def nbytes(self) -> int:
        """Memory that the look-up holds, bytes."""
        return self._index.nbytes

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, image_id: object) -> bool:
        return isinstance(image_id, str) and self._index.find(image_id) is not None

    def ids(self) -> list[str]:
        """Return the ids of all images, in the order their masks were written."""
        ids: list[str] = []
        for file, rows in self._index.live():
            ids.extend(file.texts("image_id", rows))
        return ids

    def read(self, image_id: str) -> MaskEntry:
        """Return the mask of an image: what people edited, else what the segmenter found.

        Raises
        ------
        LesionError
            There is none, or its bytes are damaged.
        """
        file, row = self._find(image_id)
        return file.entry_at(row)

    def row(self, image_id: str) -> MaskRow:
        """Return what is known of a mask, without its pixels."""
        file, row = self._find(image_id)
        return file.row_at(row)

    def payload_bytes(self, image_id: str) -> bytes:
        """Return the encoded payload of an image, checksum checked."""
        file, row = self._find(image_id)
        return file.payload_bytes(row)

    def _find(self, image_id: str) -> tuple[ShardFile, int]:
        found = self._index.find(image_id)
        if found is None:
            raise LesionError(
                f"the mask cache {self.folder} has no mask of the image {image_id!r}",
                wanted=f"one of its {len(self)} images"
                + ("" if self.complete else " (the cache is not complete)"),
                mend="give the `segstage cache` command of this cache again with that image in the "
                "data set",
            )
        return found

    def table(self) -> pd.DataFrame:
        """Return all rows without payloads, one an image, in the order they were written.

        Columns are those of `MaskRow`; `shape`, `box` and `payload_shape` become `height`, `width`,
        `y0`, `x0`, `y1`, `x1`, `payload_height` and `payload_width`; `transform` is left out.
        `quality` and `disagreement` are NaN where not computed.
        """
        import pandas as pd

        parts = [_frame_columns(file, rows) for file, rows in self._index.live()]
        if not parts:
            return pd.DataFrame(columns=list(_FRAME))
        return pd.DataFrame({k: np.concatenate([p[k] for p in parts]) for k in _FRAME})


_FRAME = (
    "image_id", "image_sha256", "height", "width", "y0", "x0", "y1", "x1", "area", "score",
    "quality", "disagreement", "threshold", "member", "in_sample", "revision", "status",
    "reason", "encoding", "payload_height", "payload_width",
)  # fmt: skip
_SPLIT = {
    "shape": ("height", "width"),
    "box": ("y0", "x0", "y1", "x1"),
    "payload_shape": ("payload_height", "payload_width"),
}


def _frame_columns(file: ShardFile, rows: columns.Array) -> dict[str, columns.Array]:
    out: dict[str, columns.Array] = {}
    for name in (*columns.TEXT, *columns.NUMERIC):
        if name in ("id_hash", "transform"):
            continue
        if not file.has(name):
            out[name] = _null_column(name, len(rows))
            continue
        values = file.column(name)[rows]
        if name in _SPLIT:
            out.update({part: values[:, at] for at, part in enumerate(_SPLIT[name])})
        elif name == "image_sha256":
            hexes = [bytes(value).hex() for value in values]
            out[name] = np.array(["" if set(h) == {"0"} else h for h in hexes], object)
        elif name == "reason":
            out[name] = np.array([file.reason(code) for code in values.tolist()], object)
        elif name in columns.TEXT:
            out[name] = np.array(file.texts(name, rows), object)
        else:
            out[name] = values.astype(bool) if name == "in_sample" else values
    return out


def _null_column(name: str, count: int) -> columns.Array:
    if name in (*columns.TEXT, "reason"):
        return np.full(count, "", object)
    return np.zeros(count, bool) if name == "in_sample" else np.full(count, np.nan)
