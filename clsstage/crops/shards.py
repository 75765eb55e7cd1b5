"""Files of crops: HDF5 of flat bytes and offsets, written whole, read by plain `pread`.

The layout is the mask cache's: contiguous, unfiltered datasets, so that a crop is read without
HDF5, and each process has a descriptor of its own.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from clsstage.crops.codec import decode_image, decode_mask
from clsstage.crops.crop import Crop, CropRow
from lesioncore.cache.columns import id_hash, pack_text
from lesioncore.errors import LesionError, refuse_newer

FORMAT = "lesion crop cache"
SCHEMA_VERSION = 1

_NUMERIC: dict[str, tuple[str, tuple[int, ...]]] = {
    "id_hash": ("<u8", ()),
    "image_sha256": ("|u1", (32,)),
    "source_shape": ("<i4", (2,)),
    "region": ("<i4", (4,)),
    "shape": ("<i4", (2,)),
    "whole_shape": ("<i4", (2,)),
    "box": ("<i4", (4,)),
    "mask_box": ("<i4", (4,)),
    "area": ("<i8", ()),
    "threshold": ("<f8", ()),
    "reason": ("<i4", ()),
}
_TEXT = ("image_id", "status")

#: A row, and the bytes of its image, its mask and the whole image beside it (any may be empty).
Item = tuple[CropRow, tuple[bytes, bytes, bytes]]
_PARTS = 3


def shard_image(items: Sequence[Item], attributes: Mapping[str, str]) -> bytes:
    """Return the bytes of a shard file with these crops; equal crops give equal bytes."""
    rows = [row for row, _ in items]
    parts = [data for _, three in items for data in three]
    with h5py.File("shard", "w", driver="core", backing_store=False) as file:
        for name, value in {**attributes, "format": FORMAT}.items():
            file.attrs[name] = value
        file.attrs["schema_version"] = SCHEMA_VERSION
        for name, values in _columns(rows).items():
            kind = values.dtype
            if kind.kind == "S":
                values = values.astype(h5py.string_dtype("utf-8", kind.itemsize))
            file.create_dataset(name, data=values)
        file["crop/data"] = np.frombuffer(b"".join(parts), np.uint8)
        ends = np.cumsum([len(part) for part in parts])
        file["crop/offset"] = np.concatenate([[0], ends]).astype("<i8")
        file["crop/checksum"] = np.array([zlib.crc32(part) for part in parts], "<u4")
        file.flush()
        image: bytes = file.id.get_file_image()
        return image


def _columns(rows: Sequence[CropRow]) -> dict[str, NDArray[Any]]:
    reasons = {"": 0}
    for row in rows:
        reasons.setdefault(row.reason, len(reasons))
    columns = {name: pack_text([getattr(row, name) for row in rows]) for name in _TEXT}
    for name, (dtype, inner) in _NUMERIC.items():
        if name == "id_hash":
            values: list[Any] = [id_hash(row.image_id) for row in rows]
        elif name == "image_sha256":
            values = [list(bytes.fromhex(row.image_sha256 or "00" * 32)) for row in rows]
        elif name == "reason":
            values = [reasons[row.reason] for row in rows]
        else:
            values = [getattr(row, name) for row in rows]
        columns[name] = np.array(values, dtype).reshape(len(rows), *inner)
    columns["reasons"] = pack_text(list(reasons))
    return columns


class CropShard:
    """One shard, for reading: its columns in memory, its pixels on the disk.

    Parameters
    ----------
    path
        The file.
    hold
        Keep a descriptor between reads. Without, each read opens the file: for archives with
        more shards than a process may open.
    """

    def __init__(self, path: Path, *, hold: bool = True) -> None:
        self.path = path
        self.hold = hold
        self._descriptors: dict[int, int] = {}
        try:
            self._read_layout()
        except FileNotFoundError as error:
            raise LesionError(
                f"the crop cache lacks {path.name}",
                wanted=f"the file {path}",
                mend="give the command that made the crops again: it redoes what is missing",
            ) from error
        except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
            raise self._damaged(str(error)) from error

    def _read_layout(self) -> None:
        with self.path.open("rb") as handle, h5py.File(handle, "r") as file:
            self.attributes = {str(name): value for name, value in file.attrs.items()}
            if self.attributes.get("format") != FORMAT:
                raise ValueError("it is not a file of crops")
            refuse_newer(
                f"{self.path} has schema version", self.attributes["schema_version"], SCHEMA_VERSION
            )
            self.columns: dict[str, NDArray[Any]] = {
                name: np.asarray(file[name][:]) for name in (*_TEXT, *_NUMERIC, "reasons")
            }
            self._offset = np.asarray(file["crop/offset"][:], np.int64)
            self._checksum = np.asarray(file["crop/checksum"][:])
            # Shards of failed images only hold no bytes, and then HDF5 gives them no place.
            start = file["crop/data"].id.get_offset()
            if start is None and self._offset[-1]:
                raise ValueError("crop/data is not stored contiguously and unfiltered")
            self._start = int(start or 0)

    def __len__(self) -> int:
        return len(self.columns["image_id"])

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_descriptors": {}}

    def __del__(self) -> None:
        # A child of a fork must not close the number that its parent still uses under the same id.
        descriptor = getattr(self, "_descriptors", {}).pop(os.getpid(), None)
        if descriptor is not None:
            os.close(descriptor)

    def ids(self) -> list[str]:
        """Return the image ids, in the order of the rows."""
        return [value.decode() for value in self.columns["image_id"].tolist()]

    def row_at(self, row: int) -> CropRow:
        """Return a row without its pixels."""
        return CropRow(**self._values(row))

    def crop_at(self, row: int) -> Crop:
        """Return a crop without the whole image beside it.

        Raises
        ------
        LesionError
            It failed when it was made, or its bytes have changed.
        """
        values = self._read_values(row)
        try:
            image = decode_image(self._part(row, 0), values["shape"])
            mask = None
            if values["status"] == "masked":
                mask = decode_mask(self._part(row, 1), values["shape"], values["mask_box"])
            return Crop(image=image, mask=mask, **values)
        except LesionError as error:
            raise self._named(error, values["image_id"]) from error

    def whole_at(self, row: int) -> NDArray[np.uint8]:
        """Return the whole image of a row: the crop itself where that shows all of it."""
        values = self._read_values(row)
        all_of_it = values["region"] == (0, 0, *values["source_shape"])
        if values["status"] == "unmasked" or (all_of_it and not any(values["whole_shape"])):
            return self.crop_at(row).image
        if not any(values["whole_shape"]):
            raise LesionError(
                f"{self.path} holds no whole images beside its crops",
                wanted="crops made for a training that leaves masks out",
                mend="another --crops folder",
            )
        try:
            return decode_image(self._part(row, 2), values["whole_shape"])
        except LesionError as error:
            raise self._named(error, values["image_id"]) from error

    def _part(self, row: int, number: int) -> bytes:
        """Return the bytes of the image (0), the mask (1) or the whole image (2), checked."""
        at = _PARTS * row + number
        start, stop = (int(edge) for edge in self._offset[at : at + 2])
        data = self._pread(stop - start, self._start + start)
        if zlib.crc32(data) != int(self._checksum[at]):
            raise LesionError("it has changed")
        return data

    def _named(self, error: LesionError, image_id: str) -> LesionError:
        if str(self.path) in error.found:
            return error
        return self._damaged(f"the crop of {image_id!r}: {error.found}")

    def _read_values(self, row: int) -> dict[str, Any]:
        values = self._values(row)
        if values["status"] == "failed":
            raise LesionError(values["reason"])
        return values

    def _values(self, row: int) -> dict[str, Any]:
        column = self.columns
        digest = bytes(column["image_sha256"][row])
        return {
            "image_id": column["image_id"][row].decode(),
            "image_sha256": digest.hex() if any(digest) else "",
            "source_shape": tuple(column["source_shape"][row].tolist()),
            "region": tuple(column["region"][row].tolist()),
            "shape": tuple(column["shape"][row].tolist()),
            "whole_shape": tuple(column["whole_shape"][row].tolist()),
            "box": tuple(column["box"][row].tolist()),
            "mask_box": tuple(column["mask_box"][row].tolist()),
            "area": int(column["area"][row]),
            "threshold": float(column["threshold"][row]),
            "status": column["status"][row].decode(),
            "reason": column["reasons"][column["reason"][row]].decode(),
        }

    def _pread(self, size: int, offset: int) -> bytes:
        if self.hold:
            process = os.getpid()
            descriptor = self._descriptors.get(process)
            if descriptor is None:
                descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
                self._descriptors[process] = descriptor
            data = os.pread(descriptor, size, offset)
        else:
            with self.path.open("rb", buffering=0) as handle:
                data = os.pread(handle.fileno(), size, offset)
        if len(data) != size:
            raise self._damaged("it is cut short")
        return data

    def _damaged(self, what: str) -> LesionError:
        return LesionError(
            f"a damaged file of crops: {self.path}: {what}",
            mend="delete that file and give the command that made the crops again: it redoes only "
            "what was in it",
        )
