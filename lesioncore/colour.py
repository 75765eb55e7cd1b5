"""The colours of a lesion and of the skin around it, in CIELAB (sRGB, D65)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Lab = NDArray[np.float64]

#: The six colours of the ABCD rule and of Menzies' method: centre in CIELAB. Chosen by us for
#: dermoscopy under white light; not validated against readers.
LESION_COLOURS: dict[str, tuple[float, float, float]] = {
    "white": (85.0, 3.0, 8.0),
    "red": (45.0, 45.0, 25.0),
    "light_brown": (55.0, 18.0, 30.0),
    "dark_brown": (30.0, 15.0, 18.0),
    "blue_grey": (45.0, 0.0, -10.0),
    "black": (12.0, 3.0, 3.0),
}
#: A pixel has the nearest of these colours, if it is nearer than this (CIE76).
COLOUR_RADIUS = 20.0
#: A colour is present when this part of the lesion has it.
COLOUR_SHARE = 0.05

#: Classes of the individual typology angle: more than so many degrees (Chardon et al. 1991).
SKIN_TONES = (
    (55.0, "very light"), (41.0, "light"), (28.0, "intermediate"), (10.0, "tan"), (-30.0, "brown"),
    (float("-inf"), "dark"),
)  # fmt: skip

#: The ring of skin: from and to this part of the equivalent diameter away from the outline.
RING = (0.1, 0.35)
#: Skin pixels that differ in lightness by more than this from their median are hair, ink, glare or
#: the shade of a vignette; below the second figure they are a black frame.
_LIGHTNESS_SPREAD, _FRAME_LIGHTNESS = 25.0, 15.0
#: Fewer skin pixels than this tell nothing.
MIN_SKIN_PIXELS = 32
# Pixels that are looked at, up to four times as many: more do not change a mean.
_SAMPLE = 4096


def to_lab(pixels: NDArray[np.uint8]) -> Lab:
    """Return (n, 3) CIELAB of (n, 3) uint8 sRGB: L 0 to 100, a and b about -100 to 100."""
    from skimage.color import rgb2lab

    return np.asarray(rgb2lab(pixels[None] / 255.0)[0], np.float64)


def sample(image: NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return (n, 3) uint8 RGB of an (H, W, 3) image where `where` is set, thinned evenly."""
    step = max(1, int(np.sqrt(np.count_nonzero(where) / _SAMPLE)))
    return image[::step, ::step][where[::step, ::step]]


def skin_ring(mask: NDArray[np.bool_], inside_picture: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the ring of skin around a lesion, without a gap beside its outline.

    Parameters
    ----------
    mask : (H, W) bool
    inside_picture : (H, W) bool
        False on the picture's border, where frames and shades lie.
    """
    diameter = np.sqrt(4 * np.count_nonzero(mask) / np.pi)
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    near, far = max(1.5, RING[0] * diameter), max(4.0, RING[1] * diameter)
    return np.asarray((away > near) & (away <= far) & inside_picture)


def skin_of(pixels: NDArray[np.uint8]) -> Lab | None:
    """Return the CIELAB of those (n, 3) uint8 pixels that are skin, None for too few."""
    if len(pixels) < MIN_SKIN_PIXELS:
        return None
    lab = to_lab(pixels)
    lab = lab[lab[:, 0] > _FRAME_LIGHTNESS]
    if len(lab) < MIN_SKIN_PIXELS:
        return None
    lab = lab[np.abs(lab[:, 0] - np.median(lab[:, 0])) < _LIGHTNESS_SPREAD]
    return lab if len(lab) >= MIN_SKIN_PIXELS else None


def individual_typology_angle(lab: Any) -> float:
    """Return the ITA in degrees, ``arctan((L - 50) / b) * 180 / pi``, of one CIELAB colour.

    Above 55 very light skin, below -30 dark skin (Chardon et al., Int. J. Cosmetic Sci. 13, 1991;
    Del Bino & Bernerd, Br. J. Dermatol. 169, 2013).
    """
    lightness, _, b = (float(v) for v in lab)
    return float(np.degrees(np.arctan2(lightness - 50, b)))


def skin_tone(angle: float) -> str | None:
    """Return the class of an ITA in degrees, None for NaN; see `SKIN_TONES`."""
    return next((name for least, name in SKIN_TONES if angle > least), None)


def shares_of_colours(lab: Lab) -> dict[str, float]:
    """Return which part of (n, 3) CIELAB pixels has each of `LESION_COLOURS`."""
    centres = np.array(list(LESION_COLOURS.values()))
    away = np.stack([np.square(lab - centre).sum(axis=1) for centre in centres])
    nearest = away.argmin(axis=0)
    near = away.min(axis=0) < COLOUR_RADIUS**2
    return {
        name: float(np.mean(near & (nearest == number)))
        for number, name in enumerate(LESION_COLOURS)
    }


def colour_difference(a: Any, b: Any) -> float:
    """Return CIEDE2000 between two CIELAB colours."""
    from skimage.color import deltaE_ciede2000

    return float(deltaE_ciede2000(np.asarray(a, float), np.asarray(b, float)))
