"""Exact geometry between an image and what is computed at another size: boxes, resizes, crops.

Boxes are `(y0, x0, y1, x1)`, half-open, in pixels. Affine matrices are `(2, 3) float64` and map
pixel-centre coordinates `(x, y)`: the centre of the first pixel is `(0, 0)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from lesioncore.errors import LesionError

Box = tuple[int, int, int, int]
Border = Literal["reflect", "replicate", "constant"]

EMPTY_BOX: Box = (0, 0, 0, 0)
IDENTITY: NDArray[np.float64] = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
IDENTITY.flags.writeable = False


def mask_box(mask: NDArray[np.generic]) -> Box:
    """Return the smallest box around the non-zero pixels of `mask`.

    Parameters
    ----------
    mask : (H, W) bool or uint8

    Returns
    -------
    (y0, x0, y1, x1), half-open; `(0, 0, 0, 0)` for an empty mask.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return EMPTY_BOX
    y0, y1 = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[y0:y1].any(axis=0))
    return y0, int(columns[0]), y1, int(columns[-1]) + 1


def dilate_box(box: Sequence[int], margin: float, shape: Sequence[int], square: bool = True) -> Box:
    """Return `box` grown by `margin` of its longer side on every side.

    Parameters
    ----------
    box : (y0, x0, y1, x1)
    margin : float
        Fraction of the longer side, added at each side (0.3 makes a square box 1.6 times as wide).
    shape : (H, W)
        Size of the image. The box is moved inside it where it fits; where it is larger than the
        image along an axis it stays centred on that axis and reaches over both edges, which
        `crop_with_padding` fills.
    square : bool
        Make both sides as long as the longer one.

    Returns
    -------
    (y0, x0, y1, x1), at least one pixel large; not clipped, see `shape`.
    """
    y0, x0, y1, x1 = (int(v) for v in box)
    if y1 <= y0 or x1 <= x0:
        raise LesionError(f"cannot dilate the empty box {tuple(box)}", wanted="y0 < y1 and x0 < x1")
    longer = max(y1 - y0, x1 - x0)
    grow = 2.0 * margin * longer
    sides = (longer + grow, longer + grow) if square else (y1 - y0 + grow, x1 - x0 + grow)
    (top, bottom), (left, right) = (
        _span((low + high) / 2.0, side, int(size))
        for low, high, side, size in zip((y0, x0), (y1, x1), sides, shape[:2], strict=True)
    )
    return top, left, bottom, right


def _span(centre: float, side: float, size: int) -> tuple[int, int]:
    length = max(1, round(side))
    if length >= size:
        start = -((length - size) // 2)
    else:
        start = min(max(0, round(centre - length / 2.0)), size - length)
    return start, start + length


def resize_matrix(src_shape: Sequence[int], dst_shape: Sequence[int]) -> NDArray[np.float64]:
    """Return the map of pixel centres under a full-frame resize.

    Parameters
    ----------
    src_shape : (h, w)
        Size of the payload (what is mapped from).
    dst_shape : (H, W)
        Size of the original (what is mapped to).

    Returns
    -------
    (2, 3) float64
        `x_o = (x + 0.5) * W / w - 0.5`, likewise for y: the corners of both frames meet.
    """
    return box_matrix(src_shape, (0, 0, int(dst_shape[0]), int(dst_shape[1])))


def box_matrix(src_shape: Sequence[int], box: Sequence[int]) -> NDArray[np.float64]:
    """Return the map of pixel centres from a payload to the box of the original that it covers.

    Parameters
    ----------
    src_shape : (h, w)
    box : (y0, x0, y1, x1)
        In original pixels; may reach over the edges of the original.

    Returns
    -------
    (2, 3) float64
    """
    h, w = int(src_shape[0]), int(src_shape[1])
    y0, x0, y1, x1 = (int(v) for v in box)
    if h < 1 or w < 1:
        return IDENTITY.copy()
    sx, sy = (x1 - x0) / w, (y1 - y0) / h
    return np.array([[sx, 0.0, x0 + 0.5 * sx - 0.5], [0.0, sy, y0 + 0.5 * sy - 0.5]])


def covered_box(src_shape: Sequence[int], transform: NDArray[np.float64]) -> Box:
    """Return the box of the original that a payload covers: the inverse of `box_matrix`.

    Raises
    ------
    LesionError
        The transform turns, shears, flips, or does not land on whole pixels.
    """
    h, w = int(src_shape[0]), int(src_shape[1])
    m = np.asarray(transform, dtype=np.float64)
    sx, sy = m[0, 0], m[1, 1]
    edges = np.array(
        [
            m[1, 2] + 0.5 - 0.5 * sy,
            m[0, 2] + 0.5 - 0.5 * sx,
            m[1, 2] + 0.5 - 0.5 * sy + sy * h,
            m[0, 2] + 0.5 - 0.5 * sx + sx * w,
        ]
    )
    whole = np.rint(edges)
    if m[0, 1] or m[1, 0] or sx <= 0 or sy <= 0 or np.abs(edges - whole).max() > 1e-3:
        raise LesionError(
            f"the transform {m.tolist()} does not map a {h} x {w} payload onto whole pixels",
            wanted="scaling and shift only, onto a box of whole original pixels",
        )
    y0, x0, y1, x1 = (int(v) for v in whole)
    return y0, x0, y1, x1


def inverse_resize(
    payload: NDArray[np.uint8], shape: Sequence[int], transform: NDArray[np.float64] | None = None
) -> NDArray[np.uint8]:
    """Return a payload at the size of its original image, bit for bit the same everywhere.

    The payload is resized onto the box it covers by OpenCV's `INTER_LINEAR_EXACT`, which is
    fixed-point arithmetic and thus equal on every machine (docs/reference/mask-cache.md spells it
    out). A payload of the box's own size is copied. Pixels outside the box are 0.

    Parameters
    ----------
    payload : (h, w) uint8
    shape : (H, W)
        Size of the original image.
    transform : (2, 3) float64, optional
        Payload to original, pixel centres; left out, the payload covers the whole image.

    Returns
    -------
    (H, W) uint8, a new array.
    """
    height, width = int(shape[0]), int(shape[1])
    if payload.size == 0:
        return np.zeros((height, width), np.uint8)
    box = (0, 0, height, width) if transform is None else covered_box(payload.shape, transform)
    y0, x0, y1, x1 = box
    if payload.shape == (y1 - y0, x1 - x0):
        resized = payload
    else:
        resized = cast(
            "NDArray[np.uint8]",
            cv2.resize(payload, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR_EXACT),
        )
    if box == (0, 0, height, width):
        return resized.copy() if resized is payload else resized
    out = np.zeros((height, width), np.uint8)
    top, left, bottom, right = max(0, y0), max(0, x0), min(height, y1), min(width, x1)
    if top < bottom and left < right:
        out[top:bottom, left:right] = resized[top - y0 : bottom - y0, left - x0 : right - x0]
    return out


def crop_with_padding(
    image: NDArray[np.generic], box: Sequence[int], border: Border = "reflect"
) -> NDArray[np.generic]:
    """Return the part of `image` in `box`; what lies outside the image is filled from its border.

    Parameters
    ----------
    image : (H, W) or (H, W, C), any dtype
    box : (y0, x0, y1, x1)
        May reach over the edges.
    border : {"reflect", "replicate", "constant"}
        `reflect` mirrors without doubling the edge pixel, `constant` fills with 0.

    Returns
    -------
    (y1 - y0, x1 - x0[, C]), dtype of `image`, a new array.
    """
    y0, x0, y1, x1 = (int(v) for v in box)
    height, width = image.shape[:2]
    if y1 <= y0 or x1 <= x0:
        raise LesionError(f"cannot crop the empty box {tuple(box)}", wanted="y0 < y1 and x0 < x1")
    if y0 >= 0 and x0 >= 0 and y1 <= height and x1 <= width:
        return image[y0:y1, x0:x1].copy()
    rows, row_inside = _source_indices(y0, y1, height, border)
    columns, column_inside = _source_indices(x0, x1, width, border)
    out = image[rows[:, None], columns[None, :]]
    if border == "constant":
        out[~(row_inside[:, None] & column_inside[None, :])] = 0
    return out


def _source_indices(
    start: int, stop: int, size: int, border: Border
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    wanted = np.arange(start, stop)
    inside = (wanted >= 0) & (wanted < size)
    if border == "reflect":
        if size == 1:
            return np.zeros_like(wanted), inside
        period = 2 * (size - 1)
        folded = np.abs(wanted) % period
        return np.minimum(folded, period - folded), inside
    if border in ("replicate", "constant"):
        return np.clip(wanted, 0, size - 1), inside
    raise LesionError(f"unknown border {border!r}", wanted="reflect, replicate or constant")


def invert(transform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverse of a `(2, 3)` affine transform; `LesionError` where there is none."""
    square = np.vstack([transform, [0.0, 0.0, 1.0]])
    if abs(np.linalg.det(square)) < 1e-12:
        raise LesionError(f"the transform {np.asarray(transform).tolist()} has no inverse")
    return cast("NDArray[np.float64]", np.linalg.inv(square)[:2])


def compose(first: NDArray[np.float64], then: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the `(2, 3)` transform that applies `first` and then `then`."""
    bottom = [0.0, 0.0, 1.0]
    return cast("NDArray[np.float64]", (np.vstack([then, bottom]) @ np.vstack([first, bottom]))[:2])


def transform_points(
    transform: NDArray[np.float64], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return `(n, 2)` points `(x, y)` under a `(2, 3)` transform."""
    return points @ transform[:, :2].T + transform[:, 2]
