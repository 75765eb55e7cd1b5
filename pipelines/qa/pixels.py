"""Masks of a decision: packed for the database, shrunk for the page, drawn on and brought back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lesioncore import geometry
from lesioncore.cache import decode_payload, encode_payload
from lesioncore.errors import LesionError
from lesioncore.files import sha256_bytes

Mask = NDArray[np.bool_]

#: Longer side in pixels of what the page shows; larger pictures are shrunk to it.
VIEW_SIDE = 1600


@dataclass(frozen=True)
class PackedMask:
    """A mask in the cache's encoding `bin1`, at the size of its image.

    Attributes
    ----------
    shape : (H, W)
    area : int
        Pixels.
    box : (y0, x0, y1, x1)
        Half-open; zeros of an empty mask.
    sha256 : str
        Of `data`.
    data : bytes
    """

    shape: tuple[int, int]
    area: int
    box: geometry.Box
    sha256: str
    data: bytes

    @classmethod
    def of(cls, mask: Mask) -> PackedMask:
        """Return a mask (H, W) packed."""
        data = encode_payload(mask.astype(np.uint8), "bin1")
        shape = (mask.shape[0], mask.shape[1])
        area = int(np.count_nonzero(mask))
        return cls(shape, area, geometry.mask_box(mask), sha256_bytes(data), data)

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> PackedMask:
        """Return the mask of nothing."""
        return cls.of(np.zeros(shape, bool))

    def mask(self) -> Mask:
        """Return (H, W) bool."""
        return unpacked(self.data, self.shape)


def unpacked(data: bytes, shape: tuple[int, int]) -> Mask:
    """Return a mask (H, W) bool from its packed bytes."""
    return np.asarray(decode_payload(data, shape, "bin1") != 0)


def view_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Return the size (h, w) at which an image of `shape` is shown."""
    scale = min(1.0, VIEW_SIDE / max(shape))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def at_view(mask: Mask, shape: tuple[int, int]) -> Mask:
    """Return a mask at the size `shape` (h, w) of the page, where half of a pixel is enough."""
    if mask.shape == shape:
        return mask
    grey = mask.astype(np.uint8) * 255
    small = cv2.resize(grey, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(small >= 128)


def drawn_on(mask: Mask, drawn: Mask) -> Mask:
    """Return a mask changed where a person changed its shrunk copy, and nowhere else.

    Parameters
    ----------
    mask : (H, W) bool
        What was shown, at the size of its image.
    drawn : (h, w) bool
        What came back, at the size of the page.

    Raises
    ------
    LesionError
        `drawn` has another size than the page shows.
    """
    height, width = mask.shape
    wanted = view_shape((height, width))
    if drawn.shape != wanted:
        raise LesionError(
            f"a drawn mask of {drawn.shape[0]} x {drawn.shape[1]}",
            wanted=f"{wanted[0]} x {wanted[1]} (height x width), as the page shows it",
        )
    if wanted == (height, width):
        return drawn
    changed = (at_view(mask, wanted) != drawn).astype(np.uint8)
    touched = cv2.resize(changed, (width, height), interpolation=cv2.INTER_NEAREST) != 0
    fine = cv2.resize(drawn.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.where(touched, fine >= 128, mask)


def mask_png(mask: Mask) -> bytes:
    """Return a mask as PNG of one grey channel, 0 and 255."""
    # Level 1: a page waits for it, and masks are small at any level.
    done, data = cv2.imencode(".png", mask.astype(np.uint8) * 255, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise LesionError(f"cannot encode a mask of shape {mask.shape} as PNG")
    return bytes(data)


def mask_of_png(data: bytes, limit: int = VIEW_SIDE) -> Mask:
    """Return (h, w) bool of a PNG mask that a page sent, half of the range or more being lesion.

    Raises
    ------
    LesionError
        Not a PNG, or a side of more than `limit` pixels.
    """
    # Bytes 16 to 24 are width and height: looked at before anything is unpacked.
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or not 0 < max(width, height) <= limit:
        raise LesionError("a mask that is no PNG, or too large", wanted=f"up to {limit} pixels")
    grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise LesionError("a mask that cannot be decoded", wanted="a PNG")
    return np.asarray(grey >= 128)
