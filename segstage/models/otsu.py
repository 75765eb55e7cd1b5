"""The classical floor: Otsu's threshold on the blue channel, after hair and light are removed.

Nothing is learned. A network that does not beat this has not learned to segment lesions.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segstage.models._registry import register
from segstage.models._untrained import Untrained

# Lengths are parts of the picture's side, so that the result does not hang on the resolution.
_HAIR_LENGTH = 11 / 256
_HAIR_DEPTH = 25  # grey levels that a hair is darker than what is beside it
_MOST_HAIR = 0.25  # more "hair" than this is texture of the lesion
_BLUR = 3 / 256
_FRAME_LEVEL = 60  # grey levels of the brightest channel: darker corners are the instrument's rim
_FRAME_MARGIN = 9 / 256
_RIM = 0.95  # distance from the centre, in half sides, from which a pixel is taken for skin
_TOWARDS_SKIN = 0.35
_CENTRE = 0.6
_SOFTNESS = 0.1
_STEEPEST = 12.0


@register("otsu")
class Otsu(Untrained):
    """Blue-channel Otsu with hair removal, even light and a centre prior. No parameters.

    1. Hairs are found by black-hats along four directions and painted over from beside them
       (after DullRazor: Lee et al., Computers in Biology and Medicine 27, 1997).
    2. Corners that are nearly black are the rim of the instrument and never lesion.
    3. The darkness of the blue channel, where melanin and blood absorb most, is blurred, and a
       quadratic surface fitted to the picture's rim is taken off: uneven light. Darker pixels of
       the rim do not count, since lesions reach it.
    4. Otsu's threshold (IEEE Transactions on Systems, Man, and Cybernetics 9, 1979) parts lesion
       from skin. It is moved towards the skin by 0.35 of its distance from it, since people draw
       the border outside the steepest change. Lesions are taken for darker than skin.
    5. Of the parts the one with the most weight near the centre stays; its holes are filled.

    The probability is a sigmoid of the distance from the threshold, a tenth of the contrast wide.
    """

    summary = "classical floor: blue-channel Otsu, hair removed; learns nothing, --weights otsu"
    #: Raise it when masks would change.
    current_version = 1

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, 1, H, W) float32 of images (B, 3, H, W) float32 RGB in [0, 1]."""
        pixels = (255 * images.detach().float()).round().clamp(0, 255).to(torch.uint8)
        arrays = pixels.permute(0, 2, 3, 1).cpu().numpy()
        maps = np.stack([lesion_logits(np.ascontiguousarray(one)) for one in arrays])
        return torch.from_numpy(maps)[:, None].to(images.device)


def lesion_logits(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return logits of the lesion, (H, W) float32, from an (H, W, 3) uint8 RGB image."""
    size = min(image.shape[:2])
    clean = np.asarray(cv2.medianBlur(without_hair(image), 5), dtype=np.uint8)
    frame = dark_corners(clean)
    blurred = cv2.GaussianBlur(clean[..., 2], (0, 0), max(_BLUR * size, 0.5))
    darkness: NDArray[np.float32] = 1 - np.asarray(blurred, dtype=np.float32) / np.float32(255)
    valid = ~frame
    if not valid.any():
        return np.full(image.shape[:2], -_STEEPEST, dtype=np.float32)
    darkness = even_light(darkness, valid)
    threshold = otsu_threshold(darkness[valid])
    lesion = darkness[valid & (darkness > threshold)]
    skin = darkness[valid & (darkness <= threshold)]
    if not len(lesion) or not len(skin):  # a picture of one colour
        return np.full(image.shape[:2], -_STEEPEST, dtype=np.float32)
    low, high = float(np.median(skin)), float(np.median(lesion))
    threshold -= _TOWARDS_SKIN * (threshold - low)
    logits = (darkness - threshold) / (_SOFTNESS * max(high - low, 1e-3))
    logits[frame] = -_STEEPEST
    return _central_part(np.clip(logits, -_STEEPEST, _STEEPEST).astype(np.float32))


def without_hair(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the (H, W, 3) uint8 RGB image with thin dark lines painted over.

    A line is what a closing along one of four directions fills by more than 25 grey levels. An
    image that would be a quarter hair is left as it is.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    length = max(3, 2 * round(_HAIR_LENGTH * min(grey.shape) / 2) + 1)
    depth = np.zeros_like(grey)
    for kernel in _lines(length):
        depth = np.maximum(depth, cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, kernel))
    hair = cv2.dilate((depth > _HAIR_DEPTH).astype(np.uint8), np.ones((3, 3), np.uint8))
    if not hair.any() or hair.mean() > _MOST_HAIR:
        return image
    return np.asarray(cv2.inpaint(image, hair, 3, cv2.INPAINT_TELEA))


def dark_corners(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where nearly black areas reach a corner, (H, W) bool, of an (H, W, 3) uint8 image."""
    dark = (image.max(axis=2) < _FRAME_LEVEL).astype(np.uint8)
    _, labels = cv2.connectedComponents(dark)
    corners = {int(labels[y, x]) for y in (0, -1) for x in (0, -1)} - {0}
    frame = np.isin(labels, list(corners)).astype(np.uint8)
    margin = 2 * round(_FRAME_MARGIN * min(dark.shape) / 2) + 1
    return np.asarray(cv2.dilate(frame, np.ones((margin, margin), np.uint8)) > 0)


def even_light(darkness: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the (H, W) darkness less a quadratic surface through the skin of the rim.

    The fit is repeated three times without what lies two deviations above it: lesion at the rim.
    A rim that is nearly all frame gives no fit, and the darkness comes back as it is.
    """
    y, x, radius = _places(darkness.shape)
    rim = (radius > _RIM) & valid
    if np.count_nonzero(rim) < 0.012 * darkness.size:
        return darkness
    terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1)
    values, at_rim = darkness[rim], terms[rim]
    keep = np.ones(len(values), dtype=bool)
    for _ in range(3):
        surface = np.linalg.lstsq(at_rim[keep], values[keep], rcond=None)[0]
        above = values - at_rim @ surface
        keep = above < 2 * 1.48 * np.median(np.abs(above[keep])) + 1e-6
        if np.count_nonzero(keep) < terms.shape[-1]:
            break
    return np.asarray(darkness - terms @ surface + surface[0], dtype=np.float32)


def otsu_threshold(values: NDArray[np.float32]) -> float:
    """Return Otsu's threshold of some values: the most variance between both classes.

    256 bins from the 0.5th to the 99.5th percentile; the mean of the best where several are.
    """
    low, high = np.percentile(values, [0.5, 99.5])
    if high - low < 1e-6:
        return float(high)
    counts, edges = np.histogram(np.clip(values, low, high), 256, (low, high))
    share = counts / counts.sum()
    centres = (edges[1:] + edges[:-1]) / 2
    below, moment = np.cumsum(share), np.cumsum(share * centres)
    inside = (below > 1e-9) & (below < 1 - 1e-9)
    between = np.zeros_like(below)
    w, m = below[inside], moment[inside]
    between[inside] = (moment[-1] * w - m) ** 2 / (w * (1 - w))
    return float(centres[between >= 0.9999 * between.max()].mean())


def _central_part(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return logits where only the part with the most weight near the centre is above 0, filled."""
    inside = (logits > 0).astype(np.uint8)
    count, labels = cv2.connectedComponents(inside, connectivity=4)
    if count < 2:
        return logits
    prior = np.exp(-((_places(logits.shape)[2] / _CENTRE) ** 2))
    weights = np.bincount(labels.ravel(), weights=prior.ravel(), minlength=count)
    weights[0] = 0
    chosen = labels == int(weights.argmax())
    result = np.where((labels > 0) & ~chosen, -_STEEPEST, logits)
    outline, _ = cv2.findContours(chosen.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(inside), outline, -1, 1, cv2.FILLED) > 0
    return np.asarray(np.where(filled & ~chosen, 1.0, result), dtype=np.float32)


def _places(shape: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """Return y and x from -0.5 to 0.5, and the distance from the centre in half sides, (H, W)."""
    height, width = shape
    y, x = np.meshgrid(
        (np.arange(height) + 0.5) / height - 0.5,
        (np.arange(width) + 0.5) / width - 0.5,
        indexing="ij",
    )
    return y, x, 2 * np.hypot(y, x)


def _lines(length: int) -> list[NDArray[np.uint8]]:
    """Return kernels with a line of an odd `length` at 0, 45, 90 and 135 degrees."""
    flat = np.zeros((length, length), dtype=np.uint8)
    flat[length // 2] = 1
    slope = np.eye(length, dtype=np.uint8)
    return [flat, slope, np.ascontiguousarray(flat.T), np.ascontiguousarray(slope[::-1])]
