"""The columns of a shard: names, types, and the way from a row to them and back."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesioncore.cache.entry import MaskRow
from lesioncore.errors import LesionError

Array = NDArray[Any]

# Name, little-endian type, and shape after the row. `S` columns are UTF-8, as wide as their
# longest value. Reasons are few and long, so a row holds a number into the table `reasons`.
NUMERIC: dict[str, tuple[str, tuple[int, ...]]] = {
    "id_hash": ("<u8", ()),
    "image_sha256": ("|u1", (32,)),
    "shape": ("<i4", (2,)),
    "box": ("<i4", (4,)),
    "area": ("<i8", ()),
    "score": ("<f8", ()),
    "quality": ("<f8", ()),
    "disagreement": ("<f8", ()),
    "threshold": ("<f8", ()),
    "in_sample": ("|u1", ()),
    "revision": ("<i4", ()),
    "reason": ("<i4", ()),
    "payload_shape": ("<i4", (2,)),
    "transform": ("<f8", (2, 3)),
}
TEXT: tuple[str, ...] = ("image_id", "member", "status", "encoding")
# A file without these is not a shard; any other column may be absent, and is then null.
REQUIRED: tuple[str, ...] = (
    "id_hash", "image_id", "image_sha256", "shape", "box", "area", "status", "threshold",
    "revision", "encoding", "payload_shape", "transform",
)  # fmt: skip
KNOWN: frozenset[str] = frozenset([*NUMERIC, *TEXT, "reasons", "mask"])

_NULL = {"score": math.nan, "quality": None, "disagreement": None, "in_sample": False}


def id_hash(image_id: str) -> int:
    """Return the first 8 bytes of the SHA-256 of the UTF-8 id, as a little-endian number."""
    return int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "little")


def pack_rows(rows: Sequence[MaskRow]) -> dict[str, Array]:
    """Return one array a column, and `reasons`, for rows that go into one file."""
    reasons = {"": 0}
    for row in rows:
        reasons.setdefault(row.reason, len(reasons))
    values: dict[str, Callable[[MaskRow], object]] = {
        "id_hash": lambda row: id_hash(row.image_id),
        "image_sha256": lambda row: list(bytes.fromhex(row.image_sha256 or "00" * 32)),
        "quality": lambda row: math.nan if row.quality is None else row.quality,
        "disagreement": lambda row: math.nan if row.disagreement is None else row.disagreement,
        "reason": lambda row: reasons[row.reason],
    }
    columns: dict[str, Array] = {
        name: pack_text([getattr(row, name) for row in rows]) for name in TEXT
    }
    for name, (dtype, inner) in NUMERIC.items():
        of = values.get(name, lambda row, name=name: getattr(row, name))  # type: ignore[misc]
        columns[name] = np.array([of(row) for row in rows], dtype).reshape(len(rows), *inner)
    columns["reasons"] = pack_text(list(reasons))
    return columns


def pack_text(values: Sequence[str]) -> Array:
    """Return strings as a fixed-width array of UTF-8 bytes (null-padded)."""
    encoded = [value.encode() for value in values]
    for value in encoded:
        if b"\0" in value:
            raise LesionError(f"the text {value!r} holds a null byte", wanted="text without it")
    width = max([1, *map(len, encoded)])
    return np.array(encoded, f"S{width}")


def unpack_row(values: dict[str, Any], reason: str) -> MaskRow:
    """Return the row of one file position; `values` holds the columns that the file has."""
    present: dict[str, Any] = {**_NULL, **{k: v for k, v in values.items() if k in KNOWN}}
    sha256 = np.asarray(present["image_sha256"], np.uint8).tobytes()
    return MaskRow(
        image_id=_text(present["image_id"]),
        image_sha256=sha256.hex() if any(sha256) else "",
        shape=_integers(present["shape"]),  # type: ignore[arg-type]
        box=_integers(present["box"]),  # type: ignore[arg-type]
        area=int(present["area"]),
        score=float(present["score"]),
        quality=_null(present["quality"]),
        disagreement=_null(present["disagreement"]),
        threshold=float(present["threshold"]),
        member=_text(present.get("member", b"")),
        in_sample=bool(present["in_sample"]),
        revision=int(present["revision"]),
        status=_text(present["status"]),  # type: ignore[arg-type]
        reason=reason,
        encoding=_text(present["encoding"]),  # type: ignore[arg-type]
        payload_shape=_integers(present["payload_shape"]),  # type: ignore[arg-type]
        transform=np.array(present["transform"], np.float64),
    )


def _text(value: bytes) -> str:
    return bytes(value).rstrip(b"\0").decode()


def _integers(value: Array) -> tuple[int, ...]:
    return tuple(int(v) for v in value)


def _null(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
