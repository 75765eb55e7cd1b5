"""What people changed: files of their own, whose rows win over any segmenter's."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesioncore.cache.codec import encode_payload
from lesioncore.cache.columns import pack_text
from lesioncore.cache.entry import MaskEntry, MaskRow, row_of
from lesioncore.cache.index import edits_files, next_name, read_index, tool_version
from lesioncore.cache.lookup import RowIndex
from lesioncore.cache.reader import MaskCache
from lesioncore.cache.shards import ShardFile, shard_image, write_durably
from lesioncore.errors import LesionError
from lesioncore.files import writing_to

LOCK = "edits.lock"
# A file is written anew for every edit, so it stays small; then the next one begins.
EDITS_A_FILE = 256
EXTRA_COLUMNS = ("author", "note", "edited_at")


@dataclass(frozen=True, kw_only=True, eq=False)
class Edit:
    """A mask that a person drew or accepted.

    Attributes
    ----------
    image_id : str
    mask : (H, W) bool or uint8
        Not 0 is lesion; the size of the original image.
    author : str
    note : str
    image_sha256 : str, optional
        Of the image that the person saw; left out, that of the cached row.
    """

    image_id: str
    mask: NDArray[np.generic]
    author: str
    note: str = ""
    image_sha256: str | None = None


def add_edit(
    folder: str | os.PathLike[str],
    image_id: str,
    mask: NDArray[np.generic],
    *,
    author: str,
    note: str = "",
    image_sha256: str | None = None,
) -> MaskRow:
    """Record one edited mask; see `add_edits`. Returns its row, with the new revision."""
    edit = Edit(image_id=image_id, mask=mask, author=author, note=note, image_sha256=image_sha256)
    return add_edits(folder, [edit])[0]


def add_edits(folder: str | os.PathLike[str], edits: Iterable[Edit]) -> list[MaskRow]:
    """Record edited masks; each wins over the segmenter's mask and earlier edits of its image.

    Several people may edit at once, also while `segstage cache` runs. An edit may come before the
    segmenter's mask, and stays when the cache is made anew.

    Returns
    -------
    The rows as stored: status `edited`, revision one above the highest there was.

    Raises
    ------
    LesionError
        There is no cache, or the mask has another size than the image.
    """
    where = Path(folder)
    read_index(where)
    stored: list[MaskRow] = []
    with _edits_lock(where):
        cache = MaskCache(where)
        # Edits alone, so that revisions never repeat, not even those of an image since changed.
        earlier = RowIndex([file for file in cache.files if file.path.name.startswith("edits-")])
        batch: dict[str, list[tuple[MaskEntry, Edit]]] = {}
        revisions: dict[str, int] = {}
        for edit in edits:
            if edit.image_id not in revisions:
                found = earlier.find(edit.image_id)
                revisions[edit.image_id] = int(found[0].value("revision", found[1])) if found else 0
            revisions[edit.image_id] += 1
            entry = _entry(cache, edit, revisions[edit.image_id])
            batch.setdefault(edit.author, []).append((entry, edit))
            stored.append(row_of(entry))
        for author, items in batch.items():
            _append(where, author, items)
    return stored


def _entry(cache: MaskCache, edit: Edit, revision: int) -> MaskEntry:
    if edit.mask.ndim != 2:
        raise LesionError(f"the edit of {edit.image_id!r} is {edit.mask.shape}", wanted="(H, W)")
    row = cache.row(edit.image_id) if edit.image_id in cache else None
    if row is not None and row.shape != (0, 0) and row.shape != edit.mask.shape:
        raise LesionError(
            f"the edited mask of {edit.image_id!r} is {edit.mask.shape[0]} x {edit.mask.shape[1]}",
            wanted=f"the size of its image, {row.shape[0]} x {row.shape[1]} (height x width)",
        )
    known = row.image_sha256 if row is not None else ""
    return MaskEntry.from_mask(
        image_id=edit.image_id,
        image_sha256=known if edit.image_sha256 is None else edit.image_sha256,
        mask=edit.mask,
        member="edit",
        in_sample=False,
        status="edited",
        revision=revision,
    )


def _append(folder: Path, author: str, items: list[tuple[MaskEntry, Edit]]) -> None:
    slug = re.sub(r"[^\w.]+", "_", author) or "anonymous"
    while items:
        existing = edits_files(folder)
        own = [path for path in existing if path.name.split("-", 2)[2] == f"{slug}.h5"]
        path = own[-1] if own else None
        before = _Content.read(path) if path else None
        if path is None or before is None:
            path, before = folder / next_name("edits", existing, slug), _Content([], [], [])
        room = EDITS_A_FILE - len(before.rows)
        part, items = items[:room], items[room:]
        now = int(time.time())
        content = _Content(
            before.rows + [row_of(entry) for entry, _ in part],
            before.payloads + [encode_payload(entry.payload, entry.encoding) for entry, _ in part],
            before.notes + [(edit.author, edit.note, now) for _, edit in part],
        )
        attributes = {"tool_version": tool_version(), "writer": slug}
        image = shard_image(
            content.rows, content.payloads, attributes=attributes, extra=content.columns()
        )
        write_durably(path, image)


@dataclass(frozen=True)
class _Content:
    """All of an edits file; `notes` are author, note, and seconds since 1970."""

    rows: list[MaskRow]
    payloads: list[bytes]
    notes: list[tuple[str, str, int]]

    @classmethod
    def read(cls, path: Path) -> _Content | None:
        """Return a file that has room, or None; one with columns of others is left as it is."""
        file = ShardFile(path)
        if file.rows >= EDITS_A_FILE or set(file.unknown) != set(EXTRA_COLUMNS):
            return None
        payloads = [file.payload_bytes(at) for at in range(file.rows)]
        return cls(list(file.entries()), payloads, edit_notes(path))

    def columns(self) -> dict[str, NDArray[Any]]:
        return {
            "author": pack_text([author for author, _, _ in self.notes]),
            "note": pack_text([note for _, note, _ in self.notes]),
            "edited_at": np.array([at for _, _, at in self.notes], "<i8"),
        }


def edit_notes(path: Path) -> list[tuple[str, str, int]]:
    """Return who made each edit of a file, their note, and when (seconds since 1970, UTC)."""
    import h5py

    with h5py.File(path, "r", locking=False) as file:
        authors, notes, times = (file[name][:].tolist() for name in EXTRA_COLUMNS)
    return [
        (author.decode(), note.decode(), at)
        for author, note, at in zip(authors, notes, times, strict=True)
    ]


@contextmanager
def _edits_lock(folder: Path) -> Iterator[None]:
    """Let one process at a time write edits; the others wait the milliseconds it takes."""
    path = folder / LOCK
    with writing_to(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
