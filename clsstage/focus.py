"""Focus: from a photograph and its lesion mask to what the classifier sees.

Pure functions of (image, soft mask). A focus is a frame (`full`, `crop`, `dilated_crop`), a
treatment of what lies around the lesion (`soft_background`, `hard_background`, and the controls
`lesion_only` and `background_only`), and perhaps the mask as a fourth channel (`mask_channel`);
names are joined by +. The order is fixed: cut the frame, scale it to the network's size, then
treat the background there, where it is cheap and looks the same whatever the camera.

Without a mask, or with an empty one, every focus gives the full image.
"""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from clsstage.focus_names import FOCUS_MODES, FocusNames, parse_focus
from lesioncore.geometry import EMPTY_BOX, Box, dilate_box, mask_box

__all__ = [
    "FOCUS_MODES",
    "FocusNames",
    "apply_focus",
    "focus_box",
    "parse_focus",
    "treat_background",
]

Image = NDArray[np.uint8]

GREY = 128  # what the controls put in place of what they hide
_COARSE = 8  # surroundings are blurred at an eighth of the size: they hold no detail anyway
_FEATHER = 0.03  # width of the soft edge, as a part of the side
_BLUR = 0.06  # width of the blur of the surroundings, as a part of the side
_HIDE_MARGIN = 0.1  # background_only hides this much more than the lesion's box


def apply_focus(
    image: Image,
    soft: Image | None,
    mode: str | FocusNames,
    *,
    size: int | None = None,
    level: int = 128,
    box: Box | None = None,
    margin: float = 0.3,
    shift: tuple[float, float] = (0.0, 0.0),
    blur: float = 0.7,
) -> Image:
    """Return what the classifier sees of an image.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8 RGB
        The photograph.
    soft : ndarray of shape (H, W), uint8, or None
        Probability of lesion, 0 to 255. None, or nothing at or above `level`: the full image.
    mode : str or FocusNames
        For example "dilated_crop+soft_background".
    size : int, optional
        Side of the square result; left out, the frame keeps its own size.
    level : int
        Smallest value of `soft` that is lesion, 1 to 255.
    box : (y0, x0, y1, x1), optional
        Box of the lesion, half-open, in pixels; found from `soft` when left out.
    margin : float
        Border of `dilated_crop`, as a part of the lesion's longer side.
    shift : (float, float)
        Moves the frame of a crop by this part of its height and width (training only).
    blur : float
        Strength of `soft_background`, 0 to 1.

    Returns
    -------
    ndarray of shape (size, size, 3 or 4), uint8
        RGB, and the soft mask as the fourth channel (all 0 without a mask) for `mask_channel`.
    """
    names = parse_focus(mode) if isinstance(mode, str) else mode
    if soft is not None and soft.shape != image.shape[:2]:
        raise ValueError(f"image {image.shape[:2]} and mask {soft.shape} differ in size")
    if soft is not None and box is None:
        box = mask_box(soft >= level)
    if soft is None or box is None or box == EMPTY_BOX or not names.needs_mask:
        seen = _scale(image, size)
        return _with_channel(seen, None) if names.mask_channel else seen
    frame = focus_box(
        box, (image.shape[0], image.shape[1]), names.frame, margin=margin, shift=shift
    )
    if names.frame != "full":
        y0, x0, y1, x1 = frame
        image, soft = image[y0:y1, x0:x1], soft[y0:y1, x0:x1]
    seen = _scale(image, size)
    if names.background is None and not names.mask_channel:
        return seen
    alpha = _scale(soft, size)
    if names.background is not None:
        seen = treat_background(seen, alpha, names.background, level=level, blur=blur)
    return _with_channel(seen, alpha) if names.mask_channel else seen


def focus_box(
    box: Box,
    shape: tuple[int, int],
    frame: str,
    *,
    margin: float = 0.3,
    shift: tuple[float, float] = (0.0, 0.0),
) -> Box:
    """Return the part of the image that a frame shows.

    Parameters
    ----------
    box : (y0, x0, y1, x1)
        Box of the lesion, half-open, in pixels.
    shape : (int, int)
        Height and width of the image.
    frame : str
        `full`, `crop` (the lesion's box made square) or `dilated_crop` (with a margin).
    margin, shift : float, (float, float)
        As in `apply_focus`.

    Returns
    -------
    (y0, x0, y1, x1)
        Half-open, within the image, around the whole lesion unless `shift` cuts it. A square
        where it fits. The margin gives way before the square would leave the image, and only a
        lesion longer than the image's short side gives a rectangle: mirrored borders would show
        the network lesions that are not there.
    """
    height, width = shape
    if frame == "full":
        return 0, 0, height, width
    longer = max(box[2] - box[0], box[3] - box[1])
    room = (max(longer, min(height, width)) / longer - 1.0) / 2.0
    wanted = margin if frame == "dilated_crop" else 0.0
    y0, x0, y1, x1 = dilate_box(box, min(wanted, room), shape, square=True)
    top, bottom = _moved_inside(y0, y1, shift[0], height)
    left, right = _moved_inside(x0, x1, shift[1], width)
    return top, left, bottom, right


def _moved_inside(low: int, high: int, shift: float, size: int) -> tuple[int, int]:
    length = min(high - low, size)
    start = min(max(0, low + round(shift * (high - low))), size - length)
    return start, start + length


def treat_background(
    image: Image, soft: Image, background: str, *, level: int = 128, blur: float = 0.7
) -> Image:
    """Return the image with what lies around (or under) the lesion treated.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8 RGB
    soft : ndarray of shape (H, W), uint8
        Probability of lesion, 0 to 255.
    background : str
        `soft_background`: fades over a feathered edge into blurred surroundings, never black.
        `hard_background`: everything outside the mask gets the mean colour of the surroundings.
        `lesion_only`: everything outside the mask is grey (control: no skin, no artefacts).
        `background_only`: the lesion's box and a tenth around it are grey (control: no lesion;
        its size and place can still be seen, its outline cannot).
    level, blur : int, float
        As in `apply_focus`.
    """
    if background == "soft_background":
        return _soften(image, soft, level, blur)
    lesion = soft >= level
    if background == "hard_background":
        outside = image[~lesion]
        colour = outside.mean(axis=0).astype(np.uint8) if outside.size else np.uint8(GREY)
        return np.where(lesion[..., None], image, colour)
    if background == "lesion_only":
        return np.where(lesion[..., None], image, np.uint8(GREY))
    result = image.copy()
    y0, x0, y1, x1 = mask_box(lesion)
    if lesion.any():
        up, left = round(_HIDE_MARGIN * (y1 - y0)), round(_HIDE_MARGIN * (x1 - x0))
        result[max(0, y0 - up) : y1 + up, max(0, x0 - left) : x1 + left] = GREY
    return result


def _soften(image: Image, soft: Image, level: int, blur: float) -> Image:
    height, width = soft.shape
    side = max(height, width)
    # The edge is widened outward before it fades, so that the lesion's own border stays sharp.
    small = (max(1, -(-width // 2)), max(1, -(-height // 2)))
    inside: Any = cv2.resize(soft, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    inside = cv2.GaussianBlur(inside, (0, 0), max(0.5, _FEATHER * side / 2))
    inside = np.minimum(inside * np.float32(1.0 / level), 1.0)
    opacity = cv2.resize(inside, (width, height), interpolation=cv2.INTER_LINEAR)
    # Tips of the outline would be blurred away: what is lesion stays as it is.
    opacity = np.maximum(opacity, np.minimum(soft * np.float32(1.0 / level), 1.0))
    # Surroundings are averaged without the lesion, so that its colour does not bleed into them.
    coarse = (max(1, -(-width // _COARSE)), max(1, -(-height // _COARSE)))
    weight = 1.0 - cv2.resize(opacity, coarse, interpolation=cv2.INTER_AREA)
    colour = cv2.resize(image, coarse, interpolation=cv2.INTER_AREA).astype(np.float32)
    sigma = max(0.5, _BLUR * side / _COARSE)
    weight = weight + np.float32(1e-3)  # a lesion that fills the frame blends into its own colour
    total = cv2.GaussianBlur(weight, (0, 0), sigma)
    around: Any = cv2.GaussianBlur(colour * weight[..., None], (0, 0), sigma) / total[..., None]
    around = cv2.resize(around, (width, height), interpolation=cv2.INTER_LINEAR)
    keep = (1.0 - np.float32(blur) * (1.0 - opacity))[..., None]
    return cast(Image, cv2.convertScaleAbs(around + keep * (image - around)))


def _scale(image: Image, size: int | None) -> Image:
    if size is None or image.shape[:2] == (size, size):
        return image
    shrinks = image.shape[0] * image.shape[1] > size * size
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cast(Image, cv2.resize(image, (size, size), interpolation=how))


def _with_channel(image: Image, soft: Image | None) -> Image:
    channel = np.zeros(image.shape[:2], np.uint8) if soft is None else soft
    return np.dstack([image, channel])
