"""Shard files: written whole in memory, read by plain `pread` at the offsets that HDF5 reports.

Every dataset of ours is contiguous and unfiltered (payloads are compressed one by one before), so
a row is read without HDF5: no handle to carry over a fork, no lock, no chunk cache to grow.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from lesioncore.cache import columns
from lesioncore.cache.codec import decode_payload
from lesioncore.cache.entry import MaskEntry, MaskRow
from lesioncore.errors import LesionError, refuse_newer
from lesioncore.files import atomic_path, sha256_bytes

FORMAT = "lesion mask cache"
SCHEMA_VERSION = 1
# Processes may often open no more than 1024 files, and a loader has some of its own.
_HELD_FILES = 256


def shard_image(
    rows: Sequence[MaskRow],
    payloads: Sequence[bytes],
    *,
    attributes: Mapping[str, str],
    extra: Mapping[str, NDArray[Any]] | None = None,
) -> bytes:
    """Return the bytes of a shard file.

    It is made in memory, so that a full disk is met by one plain write and not inside HDF5, and
    so that equal rows give equal bytes.

    Parameters
    ----------
    rows, payloads
        As many encoded payloads as rows.
    attributes
        Text attributes of the file beside `format` and `schema_version`.
    extra
        Further columns, first axis the rows.
    """
    with h5py.File("shard", "w", driver="core", backing_store=False) as file:
        for name, value in {**attributes, "format": FORMAT}.items():
            file.attrs[name] = value
        file.attrs["schema_version"] = SCHEMA_VERSION
        for name, values in {**columns.pack_rows(rows), **(extra or {})}.items():
            _write(file, name, values)
        file["mask/data"] = np.frombuffer(b"".join(payloads), np.uint8)
        file["mask/offset"] = payload_offsets(payloads)
        file["mask/checksum"] = np.array([zlib.crc32(payload) for payload in payloads], "<u4")
        file.flush()
        image: bytes = file.id.get_file_image()
        return image


def payload_offsets(payloads: Sequence[bytes]) -> NDArray[np.int64]:
    """Return where each payload starts in the joined bytes, and where the last one ends."""
    return np.concatenate([[0], np.cumsum([len(payload) for payload in payloads])]).astype("<i8")


def _write(file: h5py.File, name: str, values: NDArray[Any]) -> None:
    if values.dtype.kind == "S":
        values = values.astype(h5py.string_dtype("utf-8", values.dtype.itemsize))
    file.create_dataset(name, data=values)


def write_durably(path: Path, image: bytes) -> str:
    """Move `image` into place once it is on the disk; return its SHA-256."""
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        handle.write(image)
        handle.flush()
        os.fsync(handle.fileno())
    sync_folder(path.parent)
    return sha256_bytes(image)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut, where the file system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


class ShardFile:
    """One shard or edits file, open for reading.

    Safe in threads and across forks: after the constructor only `pread` on one descriptor is used.

    Parameters
    ----------
    path
        The file.
    limit
        Read only the first rows: an edits file grows, and a reader may be pinned to a moment.
    hold
        Keep the descriptor between reads. Without, each read opens the file: for archives with
        more shards than a process may open. Shards allow it, since they never change.
    """

    def __init__(self, path: Path, *, limit: int | None = None, hold: bool = True) -> None:
        self.path = path
        self._descriptor: int | None = None
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise LesionError(
                f"the mask cache lacks {path.name}",
                wanted=f"the file {path}",
                mend="give the same `segstage cache` command again: it redoes what is missing",
            ) from error
        try:
            self._read_layout(self._descriptor)
        except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
            raise self._damaged(str(error)) from error
        self.count = self.rows if limit is None else min(limit, self.rows)
        if not hold:
            self._let_go()

    def __del__(self) -> None:
        self._let_go()

    def _let_go(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _read_layout(self, descriptor: int) -> None:
        # Through our own descriptor: the file by that name may be replaced by a longer one.
        with (
            os.fdopen(os.dup(descriptor), "rb") as handle,
            h5py.File(handle, "r") as file,
        ):
            self.attributes = {str(k): v for k, v in file.attrs.items()}
            if self.attributes.get("format") != FORMAT:
                raise ValueError("it is not a mask cache file")
            refuse_newer(
                f"{self.path} has schema version", self.attributes["schema_version"], SCHEMA_VERSION
            )
            self.unknown = sorted(set(file) - columns.KNOWN)
            names = sorted(set(file) & {*columns.NUMERIC, *columns.TEXT})
            for name in set(columns.REQUIRED) - set(names):
                raise ValueError(f"the column {name!r} is missing")
            self._layout = {name: _place(file, name) for name in names}
            self._offset = _place(file, "mask/offset")
            self._data = _place(file, "mask/data")
            self._checksum = _place(file, "mask/checksum")
            self.rows = self._layout["image_id"][3]
            lengths = {name: place[3] for name, place in self._layout.items()}
            lengths |= {"mask/offset": self._offset[3] - 1, "mask/checksum": self._checksum[3]}
            for name, length in lengths.items():
                if length != self.rows:
                    raise ValueError(f"{name} has {length} rows, image_id {self.rows}")
            reasons = file["reasons"][:] if "reasons" in file else []
            self.reasons = [_decode(text) for text in reasons]

    def has(self, name: str) -> bool:
        """Return whether the file has a column that this version knows by that name."""
        return name in self._layout

    def column(self, name: str) -> NDArray[Any]:
        """Return a whole column, first axis the rows; a column that is not there is a KeyError."""
        return self._read(self._layout[name], 0, self.count)

    def texts(self, name: str, rows: NDArray[np.int64]) -> list[str]:
        """Return the values of a text column in some rows."""
        try:
            return [value.decode() for value in self.column(name)[rows].tolist()]
        except UnicodeDecodeError as error:
            raise self._damaged(f"the column {name!r}: {error}") from error

    def id_at(self, row: int) -> str:
        """Return the image id of a row."""
        try:
            return _decode(self._value("image_id", row))
        except UnicodeDecodeError as error:
            raise self._damaged(f"the image id of row {row}: {error}") from error

    def value(self, name: str, row: int) -> Any:
        """Return one value of one column as NumPy has it."""
        return self._value(name, row)

    def row_at(self, row: int) -> MaskRow:
        """Return a row without its payload."""
        values = {name: self._value(name, row) for name in self._layout}
        reason = self.reason(int(values.get("reason", 0)))
        try:
            return columns.unpack_row(values, reason)
        except UnicodeDecodeError as error:
            raise self._damaged(f"row {row}: {error}") from error

    def reason(self, code: int) -> str:
        """Return the text that a number in the column `reason` stands for."""
        return self.reasons[code] if 0 <= code < len(self.reasons) else ""

    def payload_bytes(self, row: int) -> bytes:
        """Return the encoded payload of a row; a wrong checksum is a `LesionError`."""
        start, stop = (int(v) for v in self._read(self._offset, row, 2))
        data = self._pread(stop - start, self._data[0] + start)
        if zlib.crc32(data) != int(self._read(self._checksum, row, 1)[0]):
            raise self._damaged(f"the payload of {self.id_at(row)!r} (row {row}) has changed")
        return data

    def entry_at(self, row: int) -> MaskEntry:
        """Return a row with its decoded payload."""
        found = self.row_at(row)
        try:
            payload = decode_payload(self.payload_bytes(row), found.payload_shape, found.encoding)
        except LesionError as error:
            if str(self.path) in error.found:
                raise
            raise self._damaged(f"the mask of {found.image_id!r}: {error.found}") from error
        return MaskEntry(**vars(found), payload=payload)

    def entries(self) -> Iterator[MaskRow]:
        """Yield every row without its payload."""
        return (self.row_at(row) for row in range(self.count))

    def _value(self, name: str, row: int) -> Any:
        if not 0 <= row < self.count:
            raise IndexError(row)
        return self._read(self._layout[name], row, 1)[0]

    def _read(self, place: Place, first: int, count: int) -> NDArray[Any]:
        offset, dtype, inner, _ = place
        size = dtype.itemsize
        for extent in inner:
            size *= extent
        data = self._pread(count * size, offset + first * size)
        return np.frombuffer(data, dtype).reshape(count, *inner)

    def _pread(self, size: int, offset: int) -> bytes:
        if not size:
            return b""
        if self._descriptor is not None:
            data = os.pread(self._descriptor, size, offset)
        else:
            with self.path.open("rb", buffering=0) as handle:
                data = os.pread(handle.fileno(), size, offset)
        if len(data) != size:
            raise self._damaged("it is cut short")
        return data

    def _damaged(self, what: str) -> LesionError:
        return self.damaged(self.path, what)

    @staticmethod
    def damaged(path: Path, what: str) -> LesionError:
        """Return the error for a file that is not what it was when it was written."""
        again = "delete that file and give the `segstage cache` command again: it redoes only what "
        return LesionError(
            f"a damaged mask cache file: {path}: {what}",
            mend=again + "was in it" if path.name.startswith("shard-") else None,
        )


def open_files(
    paths: Sequence[Path], limits: Sequence[int | None] = (), *, of: int | None = None
) -> list[ShardFile]:
    """Return shards and edits files, open for reading, with as many descriptors as is polite.

    Parameters
    ----------
    paths
        The files.
    limits
        How many rows to read of each; left out, all.
    of
        How many files the caller has in all; left out, these.
    """
    many = (len(paths) if of is None else of) > _HELD_FILES
    return [
        # An edits file may be replaced by a longer one, so it is always held.
        ShardFile(path, limit=limit, hold=not many or not path.name.startswith("shard-"))
        for path, limit in zip(paths, limits or [None] * len(paths), strict=True)
    ]


# Offset in the file, type, shape after the row, length.
Place = tuple[int, np.dtype[Any], tuple[int, ...], int]


def _place(file: h5py.File, name: str) -> Place:
    # h5py's low level: opening a dataset object costs four times as much, and there are twenty.
    dataset = h5py.h5d.open(file.id, name.encode())
    offset, shape, kind = dataset.get_offset(), dataset.shape, dataset.dtype
    if offset is None:
        if all(shape):
            raise ValueError(f"{name} is not stored contiguously and unfiltered")
        offset = 0
    plain = np.dtype(f"S{kind.itemsize}") if kind.kind == "S" else kind
    return int(offset), plain, tuple(shape[1:]), int(shape[0])


def _decode(value: bytes) -> str:
    return bytes(value).rstrip(b"\0").decode()
