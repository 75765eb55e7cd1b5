"""A lesion moved onto other skin: turned, matched in tone, blended by Poisson's equation.

Blending: Perez, Gangnet and Blake, Poisson image editing, SIGGRAPH 2003 (`cv2.seamlessClone`).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.synthesis.skin import (
    Image,
    Mask,
    diameter,
    dilated,
    frame_of,
    from_lab,
    hairs_of,
    hole_of,
    remove_lesion,
    to_lab,
)

#: Goes up whenever the same seed would give other pictures.
VERSION = 1
#: CIE76 difference between the two skins above which they are not matched: a lesion of light skin
#: would lose its colours on dark skin.
MAX_SKIN_DIFFERENCE = 16.0
#: Ratio of the roughness of the two skins (deviation of the lightness from its surroundings) above
#: which the border of the transplant shows as a change of texture.
MAX_ROUGHNESS_RATIO = 1.8
#: Part of the matched patch that may be brighter or darker than a picture can hold.
MAX_CLIPPED = 0.01
#: The contrast of lesion and skin may change by this (CIE76), or this part of it if that is more.
CONTRAST_TOLERANCE, CONTRAST_PART = 4.0, 0.15
#: Part of the ring of skin that may be hair: cut hairs tell a transplant from a lesion.
MAX_HAIR = 0.03
#: Least part of the ring that must be skin, not frame.
MIN_SKIN = 0.97
#: Part of the ring that may differ by more than this (CIE76) from its median: glass, ink, glare.
ODD_TONE, MAX_ODD = 20.0, 0.1
#: Smaller lesions show nothing.
MIN_PIXELS = 30
# Width of the skin that comes with the lesion, in parts of its diameter.
_BORDER = 0.16
_SCALES = (0.88, 1.12)
_TURNS = 8
# OpenCV erodes the mask so often before it blends.
_ERODED = 3


class Unfit(Exception):
    """This donor cannot go onto this recipient; the message says why, and another is drawn.

    Attributes
    ----------
    of_donor : bool
        No other recipient would help.
    """

    def __init__(self, reason: str, *, of_donor: bool = False) -> None:
        super().__init__(reason)
        self.of_donor = of_donor


@dataclass(frozen=True)
class Lesion:
    """A photograph and its lesion.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB
    mask : (H, W) bool
    """

    image: Image
    mask: Mask


@dataclass(frozen=True)
class Transplant:
    """A made picture.

    Attributes
    ----------
    image : (H, W, 3) uint8 RGB
        Of the recipient's size.
    mask : (H, W) bool
        Exactly where the donor's lesion lies.
    contrast, contrast_before : float
        CIE76 difference of lesion and surrounding skin, here and in the donor.
    skin_difference : float
        CIE76 difference of the two skins before they were matched.
    scale : float
        Of the lesion, in pixels of the recipient a pixel of the donor.
    """

    image: Image
    mask: Mask
    contrast: float
    contrast_before: float
    skin_difference: float
    scale: float


def transplant(donor: Lesion, recipient: Lesion, rng: np.random.Generator) -> Transplant:
    """Return the donor's lesion on the recipient's skin, whose own lesion is taken away first.

    Raises
    ------
    Unfit
        The lesion does not fit, hairs or a frame would be cut, the skins differ too much, or the
        lesion's contrast was not kept.
    """
    moved, mask, scale = _moved(donor, recipient, rng)
    border = max(4.0, _BORDER * diameter(mask))
    patch = dilated(mask, border)
    _check_covers(recipient.mask, patch)
    ring_before = _ring(donor.mask)
    _check_ring(donor.image, ring_before, "donor")
    base = remove_lesion(recipient.image, recipient.mask, rng)
    ring = _ring(mask)
    _check_ring(base, ring, "recipient")

    before = _contrast(to_lab(donor.image), donor.mask, ring_before)
    lab = to_lab(moved)
    shift = _median(to_lab(base), ring) - _median(lab, ring)
    difference = float(np.linalg.norm(shift))
    if difference > MAX_SKIN_DIFFERENCE:
        raise Unfit("the skins differ too much in tone")
    matched = from_lab(lab + shift)
    _check_clipped(matched, moved, patch)
    _check_roughness(_roughness(base, ring), _roughness(matched, ring))
    image = _blended(matched, base, mask, patch, border)
    after = _contrast(to_lab(image), mask, ring)
    change = float(np.linalg.norm(after - before))
    contrast = float(np.linalg.norm(before))
    if change > max(CONTRAST_TOLERANCE, CONTRAST_PART * contrast):
        raise Unfit("the contrast of lesion and skin was not kept")
    return Transplant(image, mask, float(np.linalg.norm(after)), contrast, difference, scale)


def _moved(donor: Lesion, recipient: Lesion, rng: np.random.Generator) -> tuple[Image, Mask, float]:
    """Return the donor's picture and mask turned, mirrored and moved into the recipient's frame."""
    height, width = recipient.mask.shape
    size, other = np.sqrt(donor.mask.size), np.sqrt(recipient.mask.size)
    points = np.stack(np.nonzero(donor.mask)[::-1]).astype(float)
    across = diameter(donor.mask)
    for attempt in range(_TURNS):
        scale = float(other / size * rng.uniform(*_SCALES))
        angle = rng.uniform(0, 2 * np.pi)
        if attempt > _TURNS // 2:  # large lesions fit the way they lay
            angle = np.pi * rng.integers(2)
            scale = min(scale, float(other / size))
        turn = scale * _rotation(angle) @ np.diag([rng.choice([-1.0, 1.0]), 1.0])
        turned = turn @ points
        low, high = turned.min(axis=1), turned.max(axis=1)
        margin = max(4.0, _BORDER * across * scale) + _ERODED + 2
        room = np.array([width, height]) - (high - low) - 2 * margin
        if (room > 0).all():
            break
    else:
        raise Unfit("the lesion does not fit into the picture")
    own = np.array([axis.mean() for axis in np.nonzero(recipient.mask)[::-1]])
    wanted = own + rng.normal(0, 0.03 * other, 2) - (high - low) / 2
    start = np.clip(wanted, margin, margin + room)
    matrix = np.column_stack([turn, start - low])
    moved = cv2.warpAffine(
        donor.image, matrix, (width, height),
        flags=cv2.INTER_CUBIC if scale > 0.7 else cv2.INTER_AREA,
        borderMode=cv2.BORDER_REFLECT_101,
    )  # fmt: skip
    mask = cv2.warpAffine(
        donor.mask.astype(np.uint8) * 255, matrix, (width, height), flags=cv2.INTER_LINEAR
    )
    lesion = np.asarray(mask >= 128)
    if np.count_nonzero(lesion) < MIN_PIXELS:
        raise Unfit("the lesion would be a few pixels")
    return np.asarray(moved, np.uint8), lesion, scale


def _rotation(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _ring(mask: Mask) -> Mask:
    """Return the skin around a lesion that would come with it."""
    border = max(4.0, _BORDER * diameter(mask))
    return dilated(mask, border) & ~dilated(mask, 0.3 * border)


def _check_ring(image: Image, ring: Mask, whose: str) -> None:
    mine = whose == "donor"
    if frame_of(image)[ring].mean() > 1 - MIN_SKIN:
        raise Unfit(f"a frame lies beside the {whose}'s lesion", of_donor=mine)
    if hairs_of(image)[ring].mean() > MAX_HAIR:
        raise Unfit(f"hairs cross the border of the {whose}'s lesion", of_donor=mine)
    lab = to_lab(image)[ring]
    odd = np.linalg.norm(lab - np.median(lab, axis=0), axis=1) > ODD_TONE
    if odd.mean() > MAX_ODD:
        raise Unfit(f"the skin around the {whose}'s lesion is not of one tone", of_donor=mine)


def _check_covers(own: Mask, patch: Mask) -> None:
    """The skin made up must stay the smaller part of what is seen around the lesion."""
    uncovered = np.count_nonzero(hole_of(own) & ~patch)
    if uncovered > 0.35 * np.count_nonzero(patch):
        raise Unfit("the recipient's own lesion is much larger than the donor's")


def _check_clipped(matched: Image, moved: Image, patch: Mask) -> None:
    """Refuse tones that were pushed out of the range; what lay there before is the donor's own."""

    def clipped(image: Image) -> NDArray[np.bool_]:
        return np.asarray(((image <= 1) | (image >= 254)).any(axis=-1))[patch]

    part = float((clipped(matched) & ~clipped(moved)).mean())
    if part > MAX_CLIPPED:
        raise Unfit("tones of the lesion would be clipped")


def _roughness(image: Image, ring: Mask) -> float:
    lightness, weight = to_lab(image)[..., 0], ring.astype(np.float32)
    sigma = 0.015 * max(ring.shape)
    # Blurred within the ring, so that the lesion's own edge is no roughness of the skin.
    near = cv2.GaussianBlur(lightness * weight, (0, 0), sigma)
    fine = lightness - near / np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-3)
    return float(fine[ring].std())


def _check_roughness(ours: float, theirs: float) -> None:
    ratio = max(ours, theirs, 0.5) / max(min(ours, theirs), 0.5)
    if ratio > MAX_ROUGHNESS_RATIO:
        raise Unfit("one skin is much rougher than the other")


def _median(lab: NDArray[np.float32], where: Mask) -> NDArray[np.float32]:
    return np.asarray(np.median(lab[where], axis=0), np.float32)


def _contrast(lab: NDArray[np.float32], mask: Mask, ring: Mask) -> NDArray[np.float32]:
    return np.asarray(_median(lab, mask) - _median(lab, ring))


def _blended(source: Image, base: Image, mask: Mask, patch: Mask, border: float) -> Image:
    """Return the patch cloned into the base, faded out over the outer half of its skin."""
    wanted = dilated(patch, _ERODED).astype(np.uint8) * 255
    wanted[:1], wanted[-1:], wanted[:, :1], wanted[:, -1:] = 0, 0, 0, 0
    x, y, w, h = cv2.boundingRect(wanted)
    cloned = cv2.seamlessClone(source, base, wanted, (x + w // 2, y + h // 2), cv2.NORMAL_CLONE)
    # Poisson's equation is solved over the whole rectangle and tints the skin beside the patch.
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    part = np.clip((border - away) / (0.6 * border), 0, 1)
    fade = (part * part * (3 - 2 * part))[..., None]
    result = fade * cloned.astype(np.float32) + (1 - fade) * base.astype(np.float32)
    return np.asarray(np.clip(np.rint(result), 0, 255), np.uint8)
