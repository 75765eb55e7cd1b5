"""Pixels of a crop as bytes: WebP without loss, or JPEG that looks the same."""

from __future__ import annotations

from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from lesioncore.errors import LesionError
from lesioncore.geometry import EMPTY_BOX, Box

Encoding = Literal["jpeg", "webp"]
ENCODINGS: tuple[str, ...] = get_args(Encoding)

# 4:4:4: colour is what lesions are told apart by, and half of it would go with 4:2:0.
_JPEG = [
    cv2.IMWRITE_JPEG_QUALITY,
    95,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]
# Above 100 is lossless. Against PNG: a third fewer bytes and two thirds of the time to read, which
# is done each epoch; ten times the time to write, which is done once.
_WEBP = [cv2.IMWRITE_WEBP_QUALITY, 101]
_MASK = [cv2.IMWRITE_PNG_COMPRESSION, 3]


def encode_image(image: NDArray[np.uint8], encoding: str) -> bytes:
    """Return (h, w, 3) uint8 RGB as a lossless WebP, or as a JPEG (quality 95, 4:4:4)."""
    if encoding not in ENCODINGS:
        raise LesionError(
            f"unknown encoding of crops {encoding!r}", wanted=f"one of: {', '.join(ENCODINGS)}"
        )
    colours: Any = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    if encoding == "jpeg":
        return _encoded(".jpg", colours, _JPEG)
    return _encoded(".webp", colours, _WEBP)


def encode_mask(mask: NDArray[np.uint8] | None, box: Box) -> bytes:
    """Return the part of (h, w) uint8 in a box as the bytes of a grey PNG; the rest is 0.

    Half of the time to read a mask goes into its zeros. No mask, or an empty one, is no bytes.
    """
    y0, x0, y1, x1 = box
    if mask is None or box == EMPTY_BOX:
        return b""
    return _encoded(".png", np.ascontiguousarray(mask[y0:y1, x0:x1]), _MASK)


def decode_image(data: bytes, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return (h, w, 3) uint8 RGB; bytes that are not such a picture are a `LesionError`."""
    return _decoded(data, shape, cv2.IMREAD_COLOR_RGB)


def decode_mask(data: bytes, shape: tuple[int, int], box: Box) -> NDArray[np.uint8]:
    """Return (h, w) uint8 from the part of it in a box."""
    mask = np.zeros(shape, np.uint8)
    if box != EMPTY_BOX:
        y0, x0, y1, x1 = box
        mask[y0:y1, x0:x1] = _decoded(data, (y1 - y0, x1 - x0), cv2.IMREAD_GRAYSCALE)
    return mask


def _encoded(suffix: str, pixels: Any, options: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, pixels, options)
    if not done:
        raise LesionError(f"cannot encode a crop of {pixels.shape} as {suffix}")
    return data.tobytes()


def _decoded(data: bytes, shape: tuple[int, int], how: int) -> NDArray[np.uint8]:
    pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), how) if data else None
    if pixels is None or pixels.shape[:2] != tuple(shape):
        found = "no picture" if pixels is None else f"{pixels.shape[0]} x {pixels.shape[1]} pixels"
        raise LesionError(f"a damaged crop: {found}", wanted=f"{shape[0]} x {shape[1]} pixels")
    return pixels  # type: ignore[no-any-return]
