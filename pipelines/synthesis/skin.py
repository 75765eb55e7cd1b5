"""Skin without its lesion: a smooth colour under the lesion, and the texture of the skin beside it.

`cv2.inpaint` smears a hole of half the picture; here only the colour is interpolated, and pores,
hairs and noise are mirrored in from the skin at the hole's edge, so that the filled place is as
sharp as the rest.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

#: Darker than this (CIELAB lightness) is a frame, not skin.
FRAME_LIGHTNESS = 18.0
# The lesion fades out beyond its outline: this part of its diameter is taken away with it.
_FADE = 0.1
_SHIFTS = 24


def diameter(mask: Mask) -> float:
    """Return the diameter of the disc of equal area, pixels."""
    return float(np.sqrt(4 * np.count_nonzero(mask) / np.pi))


def dilated(mask: Mask, pixels: float) -> Mask:
    """Return a mask grown by so many pixels, round."""
    if pixels <= 0:
        return mask
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(away <= pixels)


def to_lab(image: Image) -> NDArray[np.float32]:
    """Return (H, W, 3) float32 CIELAB of (H, W, 3) uint8 sRGB."""
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab), np.float32)


def from_lab(lab: NDArray[np.float32]) -> Image:
    """Return (H, W, 3) uint8 sRGB of CIELAB; colours outside of sRGB are clipped."""
    picture = cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_Lab2RGB)
    return np.asarray(np.clip(np.rint(picture * 255), 0, 255), np.uint8)


def frame_of(image: Image) -> Mask:
    """Return where the black frame or corner of the dermatoscope is, a little grown."""
    blurred = np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5), np.uint8)
    dark = to_lab(blurred)[..., 0] < FRAME_LIGHTNESS
    return dilated(dark, 0.02 * max(image.shape[:2])) if dark.any() else np.asarray(dark)


def hairs_of(image: Image) -> Mask:
    """Return where thin dark lines are (black hat of the lightness)."""
    side = 2 * max(2, round(0.012 * max(image.shape[:2]))) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    lightness = cv2.cvtColor(image, cv2.COLOR_RGB2Lab)[..., 0]
    return np.asarray(cv2.morphologyEx(lightness, cv2.MORPH_BLACKHAT, kernel) > 16)


def hole_of(mask: Mask) -> Mask:
    """Return what is taken away with a lesion: the mask and where the lesion fades out."""
    return dilated(mask, max(2.0, _FADE * diameter(mask)))


def remove_lesion(image: Image, mask: Mask, rng: np.random.Generator) -> Image:
    """Return the picture with skin in the lesion's place.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB
    mask : (H, W) bool
        The lesion; what it fades into is replaced too.
    rng : Generator
        Chooses the skin whose texture fills the middle of large lesions.

    Returns
    -------
    (H, W, 3) uint8 RGB
        Outside of the hole the picture as it was.
    """
    hole = hole_of(mask)
    frame = frame_of(image)
    known = ~hole & ~frame
    pixels = image.astype(np.float32)
    colour = _colour_under(pixels, known)
    texture = np.where(known[..., None], pixels - colour, 0).astype(np.float32)
    filled = colour + _mirrored(texture, hole, known, rng)
    # A frame that reaches under the lesion stays a frame.
    replaced = hole & ~(frame & ~mask)
    result = np.where(replaced[..., None], filled, pixels)
    return np.asarray(np.clip(np.rint(result), 0, 255), np.uint8)


def _colour_under(pixels: NDArray[np.float32], known: Mask) -> NDArray[np.float32]:
    """Return the smooth colour of skin everywhere: blurred where known, spread where not."""
    sigma = 0.02 * max(known.shape)
    weight = known.astype(np.float32)
    near = cv2.GaussianBlur(weight, (0, 0), sigma)
    blurred = cv2.GaussianBlur(pixels * weight[..., None], (0, 0), sigma)
    sure = known & (near > 0.2)
    values = np.where(sure[..., None], blurred / np.maximum(near, 1e-3)[..., None], 0)
    spread = _spread(values.astype(np.float32), sure.astype(np.float32))
    return np.where(sure[..., None], values, spread).astype(np.float32)


def _spread(values: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return values where the weight is 0, from coarser and coarser averages (pull-push)."""
    if min(weight.shape) <= 2 or float(weight.min()) > 0.99:
        mean = (values * weight[..., None]).sum((0, 1)) / max(float(weight.sum()), 1e-6)
        return np.where(weight[..., None] > 1e-3, values, mean).astype(np.float32)
    below = cv2.pyrDown(weight)
    sums = cv2.pyrDown(values * weight[..., None])
    coarse = _spread(
        (sums / np.maximum(below, 1e-4)[..., None]).astype(np.float32),
        np.minimum(1, below * 2).astype(np.float32),
    )
    height, width = weight.shape
    up = cv2.pyrUp(coarse, dstsize=(width, height))
    return (values * weight[..., None] + up * (1 - weight[..., None])).astype(np.float32)


def _mirrored(
    texture: NDArray[np.float32], hole: Mask, known: Mask, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return the texture for the hole: mirrored at its edge, moved in from elsewhere beyond."""
    height, width = hole.shape
    _, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    # Labels number the known pixels in an order of OpenCV's own: read it off the pixels themselves.
    ys, xs = np.nonzero(known)
    where = np.zeros((int(labels.max()) + 1, 2), np.int64)
    where[labels[ys, xs]] = np.stack([ys, xs], axis=1)
    y, x = np.nonzero(hole)
    edge = where[labels[y, x]]
    source = _folded(2 * edge[:, 0] - y, 2 * edge[:, 1] - x, height, width)
    good = known[source]
    result = np.zeros_like(texture)
    result[y[good], x[good]] = texture[source[0][good], source[1][good]]
    y, x = y[~good], x[~good]
    for _ in range(_SHIFTS):
        if not len(y):
            break
        dy, dx = rng.integers(-height, height + 1), rng.integers(-width, width + 1)
        source = _folded(y + dy, x + dx, height, width)
        good = known[source]
        if good.mean() < 0.6:
            continue
        result[y[good], x[good]] = texture[source[0][good], source[1][good]]
        y, x = y[~good], x[~good]
    return result


def _folded(
    y: NDArray[np.int64], x: NDArray[np.int64], height: int, width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return coordinates reflected at the picture's borders until they lie inside."""

    def fold(values: NDArray[np.int64], size: int) -> NDArray[np.int64]:
        values = np.mod(values, 2 * size)
        return np.where(values < size, values, 2 * size - 1 - values)

    return fold(y, height), fold(x, width)
