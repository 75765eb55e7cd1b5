"""The journal: finished masks that are not in a shard yet, safe against `kill -9`.

    journal.bin = MAGIC, header record, then one record a mask
    record      = size (u32), CRC-32 of the body (u32), body
    body        = size of the JSON (u32), JSON, payload bytes

Each record is one `write` into the kernel before `add` returns, so the death of the process loses
nothing; a record that was cut short is dropped when the next run opens the file.
"""

from __future__ import annotations

import json
import os
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from lesioncore.cache.entry import MaskRow
from lesioncore.files import writing_to

JOURNAL = "journal.bin"
_MAGIC = b"LESIONJ1"
_HEAD = struct.Struct("<II")
_SIZE = struct.Struct("<I")
# A power cut loses at most this much; a killed process loses nothing.
_SYNC_SECONDS = 5.0

Item = tuple[MaskRow, bytes]


class Journal:
    """An open journal, positioned after its last whole record."""

    def __init__(self, path: Path, header: dict[str, str]) -> None:
        self.path = path
        with writing_to(path):
            _, items, end = read_journal(path)
            self._end = end if items else 0
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                os.ftruncate(self._descriptor, self._end)
                if not items:
                    self._append(_MAGIC + _record(json.dumps(header).encode(), b""))
            except BaseException:
                self.close()
                raise
        self._synced = time.monotonic()

    def append(self, row: MaskRow, payload: bytes) -> None:
        """Add a mask; it survives the death of the process once this returns."""
        with writing_to(self.path):
            self._append(_record(json.dumps(_to_plain(row)).encode(), payload))
            if time.monotonic() - self._synced > _SYNC_SECONDS:
                os.fsync(self._descriptor)
                self._synced = time.monotonic()

    def _append(self, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(self._descriptor, data[written:], self._end + written)
        except BaseException:
            # Half a record (disk full, Ctrl-C) must not stand before the next whole one.
            os.ftruncate(self._descriptor, self._end)
            raise
        self._end += len(data)

    def close(self) -> None:
        """Close the file, leaving it where it is."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """Delete the file: its masks are in a shard now."""
        self.close()
        self.path.unlink(missing_ok=True)


def read_journal(path: Path) -> tuple[dict[str, str], list[Item], int]:
    """Return the header, the whole records and where they end; a torn tail is left out.

    A file without a whole header counts as empty: `({}, [], 0)`.
    """
    if not path.is_file():
        return {}, [], 0
    data = path.read_bytes()
    if not data.startswith(_MAGIC):
        return {}, [], 0
    bodies: list[tuple[bytes, bytes]] = []
    end = len(_MAGIC)
    while end + _HEAD.size <= len(data):
        size, checksum = _HEAD.unpack_from(data, end)
        body = data[end + _HEAD.size : end + _HEAD.size + size]
        if len(body) < size or size < _SIZE.size or zlib.crc32(body) != checksum:
            break
        (text,) = _SIZE.unpack_from(body)
        bodies.append((body[_SIZE.size : _SIZE.size + text], body[_SIZE.size + text :]))
        end += _HEAD.size + size
    if not bodies:
        return {}, [], 0
    header = json.loads(bodies[0][0])
    return header, [(_from_plain(json.loads(text)), rest) for text, rest in bodies[1:]], end


def _record(text: bytes, payload: bytes) -> bytes:
    body = _SIZE.pack(len(text)) + text + payload
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def _to_plain(row: MaskRow) -> dict[str, Any]:
    return {
        name: np.asarray(getattr(row, name)).tolist() if name == "transform" else getattr(row, name)
        for name in MaskRow.__dataclass_fields__
    }


def _from_plain(values: dict[str, Any]) -> MaskRow:
    for name in ("shape", "box", "payload_shape"):
        values[name] = tuple(values[name])
    values["transform"] = np.array(values["transform"], np.float64)
    return MaskRow(**values)
