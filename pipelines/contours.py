"""Pictures of one lesion: the photograph with the outlines of its masks."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

# Sky blue and yellow stay apart for every common colour blindness and on every skin tone, given the
# dark casing; the dashes of the truth keep them apart in a grey print as well.
TRUTH_COLOUR = (86, 200, 255)
PREDICTION_COLOUR = (255, 214, 10)
CASING_COLOUR = (20, 16, 24)

_SUBPIXEL_BITS = 4


def fit(image: NDArray[np.uint8], size: int) -> tuple[NDArray[np.uint8], float]:
    """Return `image` scaled so that its longer side is `size`, and the scale.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8 RGB
    size : int
        Longer side of the result, in pixels.
    """
    height, width = image.shape[:2]
    scale = size / max(height, width)
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, shape, interpolation=method), dtype=np.uint8), scale


def outlined(
    image: NDArray[np.uint8],
    truth: NDArray[np.bool_] | None,
    prediction: NDArray[np.bool_] | None,
    size: int,
) -> NDArray[np.uint8]:
    """Return the photograph at `size` with the outlines of both masks.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8 RGB
    truth, prediction : ndarray of shape (H, W), bool, or None
        Masks in the pixels of `image`; None is not drawn.
    size : int
        Longer side of the result, in pixels.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8 RGB
    """
    picture, _ = fit(image, size)
    width = max(1, round(size / 140))
    if prediction is not None:
        _outline(picture, prediction, PREDICTION_COLOUR, width, dashed=False)
    if truth is not None:
        _outline(picture, truth, TRUTH_COLOUR, width, dashed=True)
    return picture


def _outline(
    picture: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    colour: tuple[int, int, int],
    width: int,
    *,
    dashed: bool,
) -> None:
    paths = contour_paths(mask, picture.shape[:2])
    dash = 7.0 * width
    for path in paths:
        if not dashed:
            _draw(picture, [path], CASING_COLOUR, width + 2)
    for path in paths:
        parts = _dashes(path, dash, 0.6 * dash) if dashed else [path]
        if dashed:
            _draw(picture, parts, CASING_COLOUR, width + 2)
        _draw(picture, parts, colour, width)


def contour_paths(mask: NDArray[np.bool_], shape: tuple[int, int]) -> list[NDArray[np.float64]]:
    """Return the closed outlines of `mask` in the pixels of a picture of `shape`.

    Returns
    -------
    list of ndarray of shape (n + 1, 2), float64
        Points (x, y) at pixel centres; the last repeats the first.
    """
    height, width = shape
    # Smoothing after the resize follows the mask to half a pixel and spares the eye its stairs.
    soft = cv2.resize(
        mask.astype(np.float32),
        (width, height),
        interpolation=cv2.INTER_AREA if width < mask.shape[1] else cv2.INTER_LINEAR,
    )
    upsampled = cv2.resize(soft, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
    # A border of background closes the outline of a lesion that leaves the picture.
    padded = np.pad((upsampled >= 0.5).astype(np.uint8), 1)
    contours, _ = cv2.findContours(padded, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    paths = []
    for contour in contours:
        points = (contour[:, 0, :].astype(np.float64) - 1 + 0.5) / 2 - 0.5
        if len(points) >= 3:
            points = _smooth(points)
            paths.append(np.vstack([points, points[:1]]))
    return paths


def _smooth(points: NDArray[np.float64]) -> NDArray[np.float64]:
    kernel = min(5, len(points) // 2 * 2 - 1)
    if kernel < 3:
        return points
    half = kernel // 2
    wrapped = np.vstack([points[-half:], points, points[:half]])
    weights = np.full(kernel, 1 / kernel)
    return np.stack([np.convolve(wrapped[:, axis], weights, "valid") for axis in (0, 1)], axis=1)


def _dashes(path: NDArray[np.float64], dash: float, gap: float) -> list[NDArray[np.float64]]:
    steps = np.hypot(*np.diff(path, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    period = dash + gap
    # A whole number of dashes, so that none is cut where the outline closes.
    period = along[-1] / max(1, math.floor(along[-1] / period))
    parts = []
    for start in np.arange(0.0, along[-1] - 1e-6, period):
        inside = (along > start) & (along < start + dash)
        ends = np.interp([start, min(start + dash, along[-1])], along, np.arange(len(along)))
        points = [_at(path, ends[0]), *path[inside], _at(path, ends[1])]
        parts.append(np.asarray(points))
    return parts


def _at(path: NDArray[np.float64], position: float) -> NDArray[np.float64]:
    low = min(int(position), len(path) - 2)
    return np.asarray(path[low] + (position - low) * (path[low + 1] - path[low]))


def _draw(
    picture: NDArray[np.uint8],
    paths: list[NDArray[np.float64]],
    colour: tuple[int, int, int],
    width: int,
) -> None:
    fixed = [np.round(path * (1 << _SUBPIXEL_BITS)).astype(np.int32)[:, None, :] for path in paths]
    cv2.polylines(picture, fixed, False, colour, width, cv2.LINE_AA, _SUBPIXEL_BITS)
