"""Prompts that need no hand: where a promptable network is told to look.

A prompt is in fractions of the picture, so it fits any resolution. All functions are pure; what
is random comes in as numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
Point = tuple[float, float]

#: The whole picture.
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
#: Part of the picture's side that the frame of border skin takes, at each edge.
_FRAME = 0.06
#: Lightness (0 to 100) below which a pixel of the frame is a vignette's corner, not skin.
_DARK = 15.0
#: How far a click on what does not stand out reaches, as a part of the picture's side.
_AROUND = 0.12
#: Thresholds tried around a click, as parts of its own distance from skin.
_SHARES = np.arange(0.3, 0.96, 0.05)
#: Part of the picture below which a part is a structure within a lesion, not a lesion.
_SMALLEST = 0.002
#: Units of Lab below which a click is on plain skin.
_PLAIN = 4.0


@dataclass(frozen=True)
class Prompt:
    """Where to look.

    Attributes
    ----------
    box : (y0, x0, y1, x1)
        Half-open, in fractions of the picture's height and width.
    point : (y, x) or None
        A place on the lesion, in the same fractions.
    """

    box: Box
    point: tuple[float, float] | None = None


def whole_image() -> Prompt:
    """Return the prompt that knows nothing: the whole picture."""
    return Prompt(WHOLE)


def centre_prior(side: float = 0.6) -> Prompt:
    """Return a box of `side` times the picture's sides around its centre, and the centre.

    For pictures that were cropped around a lesion (tiles of 3D total body photography) or framed
    on it (most dermoscopy).
    """
    low, high = 0.5 - side / 2, 0.5 + side / 2
    return Prompt((low, low, high, high), (0.5, 0.5))


def mask_prompt(mask: NDArray[Any], margin: float = 0.05) -> Prompt | None:
    """Return the box of the largest part of a mask, and its innermost point.

    Parameters
    ----------
    mask : (H, W) bool or 0/1
    margin : float
        By which each side of the box is moved out, as a fraction of the box's own side. A coarse
        mask often stops short, and a box-prompted network cannot leave its box by much.

    Returns
    -------
    Prompt or None
        None of an empty mask.
    """
    part = largest_part(mask)
    if part is None:
        return None
    height, width = part.shape
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    box = (
        rows[0] / height,
        columns[0] / width,
        (rows[-1] + 1) / height,
        (columns[-1] + 1) / width,
    )
    # A frame of zeros, so that the picture's border counts as the lesion's.
    depth = cv2.distanceTransform(np.pad(part, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return Prompt(grow(box, margin), ((int(y) + 0.5) / height, (int(x) + 0.5) / width))


def saliency(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return how far each pixel's colour is from that of the border skin.

    The distance is in Lab (CIE76), from the median of a frame along the picture's edge whose dark
    corners (a dermatoscope's vignette) do not count; smoothed over a fiftieth of the picture.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB

    Returns
    -------
    (H, W) float32, in units of Lab; 0 where a pixel is a dark corner
    """
    height, width = image.shape[:2]
    sigma = max(height, width) / 50
    smooth = cv2.GaussianBlur(image, (0, 0), sigma).astype(np.float32) / 255
    lab = cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB)
    frame = np.ones((height, width), bool)
    y, x = max(1, round(_FRAME * height)), max(1, round(_FRAME * width))
    frame[y : height - y, x : width - x] = False
    corner = lab[..., 0] < _DARK
    skin = lab[frame & ~corner]
    if not len(skin):
        return np.zeros((height, width), np.float32)
    distance = np.linalg.norm(lab - np.median(skin, axis=0), axis=2)
    # Darkness that reaches the edge of the picture is the vignette; elsewhere it may be a lesion.
    distance[_touching(corner, frame)] = 0
    return np.asarray(distance, np.float32)


def saliency_prompt(image: NDArray[np.uint8], margin: float = 0.05) -> Prompt | None:
    """Return the prompt of the part of a picture that differs most from the border skin.

    Otsu's threshold on `saliency`, weighted toward the centre; the largest part.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB
    margin : float
        See `mask_prompt`.

    Returns
    -------
    Prompt or None
        None where nothing stands out.
    """
    found = saliency(image)
    height, width = found.shape
    y = (np.arange(height, dtype=np.float32) + 0.5) / height - 0.5
    x = (np.arange(width, dtype=np.float32) + 0.5) / width - 0.5
    # Half the weight at the middle of an edge: lesions are framed, rulers and corners are not.
    weight = np.exp(-np.log(2.0) * 4 * (y[:, None] ** 2 + x[None, :] ** 2)).astype(np.float32)
    weighted = found * weight
    top = float(weighted.max())
    if top < 1:  # less than one unit of Lab: nothing that an eye would see
        return None
    levels = np.round(weighted * (255 / top)).astype(np.uint8)
    cut, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return mask_prompt(levels > cut, margin)


def clicked_box(
    distance: NDArray[np.float32],
    inside: Sequence[Point],
    outside: Sequence[Point] = (),
    margin: float = 0.05,
) -> Box:
    """Return the box that clicks speak of, for a network that learned from boxes alone.

    Each click on the lesion takes in the part around it that stands out most firmly, or only its
    own surroundings where none does. Each click beside the lesion moves the side of the box that
    costs least, as long as all clicks on the lesion stay inside.

    Parameters
    ----------
    distance : (H, W) float32
        How far each pixel is from skin, see `saliency`.
    inside, outside : sequence of (y, x)
        Clicks on the lesion and beside it, in fractions of the picture.
    margin : float
        See `mask_prompt`.
    """
    parts = [_part_around(distance, point) for point in inside] or [WHOLE]
    top, left, bottom, right = zip(*parts, strict=True)
    box = grow((min(top), min(left), max(bottom), max(right)), margin)
    for point in outside:
        box = _cut(box, point, inside)
    return box


def _part_around(distance: NDArray[np.float32], point: Point) -> Box:
    """Return the box of the part around a point that changes least with the threshold.

    The idea of maximally stable regions (Matas et al., BMVC 2002): at the lesion's border the part
    hardly grows as the threshold falls, and where it spills over skin it grows a lot. Without any
    part it is the box of the point's surroundings.
    """
    height, width = distance.shape
    y, x = point
    row, column = min(height - 1, int(y * height)), min(width - 1, int(x * width))
    reach = max(1, round(0.01 * max(height, width)))  # a hair under the pointer counts little
    rows, columns = (slice(max(0, at - reach), at + reach + 1) for at in (row, column))
    level = float(np.median(distance[rows, columns]))
    parts = [_joined(distance >= share * level, row, column) for share in _SHARES]
    areas = [int(part.sum()) for part in parts]
    stable = [
        (areas[at - 2] / max(1, areas[at + 2]), at)
        for at in range(2, len(parts) - 2)
        if areas[at] >= _SMALLEST * distance.size
    ]
    found = mask_prompt(parts[min(stable)[1]], margin=0.0) if level >= _PLAIN and stable else None
    if found is None:
        return _inside((y - _AROUND, x - _AROUND, y + _AROUND, x + _AROUND))
    return found.box


def _joined(mask: NDArray[np.bool_], row: int, column: int) -> NDArray[np.bool_]:
    """Return the part of a mask that holds a pixel; nothing where the pixel is outside."""
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    return np.asarray((labels == labels[row, column]) & mask[row, column])


def _cut(box: Box, point: Point, keep: Sequence[Point]) -> Box:
    """Return the largest part of a box beside a point that holds all of `keep`, else the box."""
    y0, x0, y1, x1 = box
    y, x = point
    if not (y0 < y < y1 and x0 < x < x1):
        return box
    parts = [(y, x0, y1, x1), (y0, x, y1, x1), (y0, x0, y, x1), (y0, x0, y1, x)]
    parts = [
        one for one in parts if all(one[0] < a < one[2] and one[1] < b < one[3] for a, b in keep)
    ]
    return max(parts, key=lambda one: (one[2] - one[0]) * (one[3] - one[1]), default=box)


def grow(box: Box, margin: float) -> Box:
    """Return a box whose sides are moved out by `margin` of its own sides, within the picture."""
    y0, x0, y1, x1 = box
    y, x = margin * (y1 - y0), margin * (x1 - x0)
    return _inside((y0 - y, x0 - x, y1 + y, x1 + x))


def jitter(prompt: Prompt, noise: NDArray[np.floating], amount: float = 0.1) -> Prompt:
    """Return a prompt whose box has each side moved by up to `amount` of the box's own side.

    Parameters
    ----------
    prompt : Prompt
    noise : (4,) float in [-1, 1]
        How far y0, x0, y1 and x1 move, as a part of `amount`.
    amount : float
        Below one half, so that the sides keep their order.
    """
    y0, x0, y1, x1 = prompt.box
    y, x = amount * (y1 - y0), amount * (x1 - x0)
    a, b, c, d = (float(value) for value in noise)
    return Prompt(_inside((y0 + a * y, x0 + b * x, y1 + c * y, x1 + d * x)), prompt.point)


def largest_part(mask: NDArray[Any]) -> NDArray[np.uint8] | None:
    """Return the largest connected part of a mask as (H, W) uint8 0/1; None of an empty one."""
    plain = np.ascontiguousarray(mask).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(plain, connectivity=4)
    if count < 2:
        return None
    areas = stats[1:, cv2.CC_STAT_AREA]
    return (labels == 1 + int(areas.argmax())).astype(np.uint8)


def _touching(mask: NDArray[np.bool_], edge: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the parts of a mask that reach into `edge`."""
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    reached = np.unique(labels[edge & mask])
    return np.asarray(np.isin(labels, reached) & mask)


def _inside(box: Box) -> Box:
    y0, x0, y1, x1 = (min(1.0, max(0.0, float(value))) for value in box)
    return y0, x0, y1, x1
