"""Plain figures of what lies outside a lesion: colour, light, frame, hair, ink, sharpness.

They are made to be poor: whatever they tell of the label, a network can tell too, without a look
at the lesion.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lesioncore.colour import RING, individual_typology_angle, sample, skin_of, skin_ring, to_lab

#: Longer side at which pictures are looked at, pixels.
SIDE = 256
#: A picture with less than this part outside the lesion and its border has no background.
LEAST_OUTSIDE = 0.03
_QUANTILES = (5, 50, 95)
#: Colours stronger than this (CIELAB chroma) are ink, stickers or clothes rather than skin.
_STRONG = 35.0
_HUES = ("red", "yellow", "green", "cyan", "blue", "violet")
_PLACES = ("top_left", "top_right", "bottom_left", "bottom_right")
_DARK = 15.0

FEATURES = (
    *(f"{channel}_{figure}" for channel in "lab"
      for figure in ("mean", "std", *(f"q{q}" for q in _QUANTILES))),
    *(f"strong_{hue}" for hue in _HUES),
    "dark_share", "light_share", "vignette",
    *(f"{place}_{channel}" for place in _PLACES for channel in "lab"),
    "gradient_mean", "gradient_q95", "gradient_across", "sharpness", "noise",
    "hair_mean", "hair_share", "glare_mean",
)  # fmt: skip
#: Skin tone from the ring around the lesion, degrees; see `lesioncore.colour`.
ITA = "ita_deg"


def background_figures(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> dict[str, float]:
    """Return `FEATURES` and `ITA`, NaN where they cannot be had.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB
    mask : (H, W) bool
        The lesion; an empty one leaves no tone, and the whole picture is background.
    """
    image, mask = _reduced(image, mask)
    figures = dict.fromkeys((*FEATURES, ITA), float("nan"))
    height, width = mask.shape
    outside = ~_widened(mask)
    if mask.any():
        edge = max(1, round(0.01 * min(height, width)))
        inside = np.zeros(mask.shape, bool)
        inside[edge : height - edge, edge : width - edge] = True
        skin = skin_of(sample(image, skin_ring(mask, inside)))
        if skin is not None:
            figures[ITA] = individual_typology_angle(np.median(skin, axis=0))
    if outside.mean() < LEAST_OUTSIDE:
        return figures
    lab = to_lab(image.reshape(-1, 3)).reshape(height, width, 3)
    return figures | _colours(lab, outside) | _places(lab, outside) | _textures(image, outside)


def _reduced(
    image: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    scale = min(1.0, SIDE / max(mask.shape))
    if scale == 1:
        return image, mask
    size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    drawn = cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
    return small, np.asarray(drawn) > 0


def _widened(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the lesion with the border that a mask leaves out: its colour is no background."""
    if not mask.any():
        return mask
    reach = max(2.0, RING[0] * float(np.sqrt(4 * mask.sum() / np.pi)))
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(away <= reach)


def _colours(lab: NDArray[np.float64], outside: NDArray[np.bool_]) -> dict[str, float]:
    pixels = lab[outside]
    found: dict[str, float] = {}
    for number, channel in enumerate("lab"):
        values = pixels[:, number]
        found[f"{channel}_mean"], found[f"{channel}_std"] = values.mean(), values.std()
        quantiles = np.percentile(values, _QUANTILES)
        found |= {f"{channel}_q{q}": v for q, v in zip(_QUANTILES, quantiles, strict=True)}
    chroma = np.hypot(pixels[:, 1], pixels[:, 2])
    hue = (np.degrees(np.arctan2(pixels[:, 2], pixels[:, 1])) + 360) % 360
    sector = ((hue + 30) // 60).astype(int) % 6
    for number, name in enumerate(_HUES):
        found[f"strong_{name}"] = float(np.mean((chroma > _STRONG) & (sector == number)))
    found["dark_share"] = float(np.mean(pixels[:, 0] < _DARK))
    found["light_share"] = float(np.mean(pixels[:, 0] > 95))
    return {name: float(value) for name, value in found.items()}


def _places(lab: NDArray[np.float64], outside: NDArray[np.bool_]) -> dict[str, float]:
    """Return the colours of the four corners, and how much darker the picture is away from its
    middle."""
    height, width = outside.shape
    dy, dx = max(1, round(0.15 * height)), max(1, round(0.15 * width))
    corners = (
        (slice(0, dy), slice(0, dx)), (slice(0, dy), slice(width - dx, width)),
        (slice(height - dy, height), slice(0, dx)),
        (slice(height - dy, height), slice(width - dx, width)),
    )  # fmt: skip
    found: dict[str, float] = {}
    for place, corner in zip(_PLACES, corners, strict=True):
        there = lab[corner][outside[corner]]
        for number, channel in enumerate("lab"):
            if len(there):
                found[f"{place}_{channel}"] = float(there[:, number].mean())
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    away = (y**2 + x**2)[outside]
    if away.std() > 0:
        found["vignette"] = float(np.polyfit(away, lab[..., 0][outside], 1)[0])
    return found


def _textures(image: NDArray[np.uint8], outside: NDArray[np.bool_]) -> dict[str, float]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    across = np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0))[outside]
    along = np.abs(cv2.Sobel(grey, cv2.CV_32F, 0, 1))[outside]
    gradient = np.hypot(across, along)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    hair = cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, kernel)[outside]
    glare = cv2.morphologyEx(grey, cv2.MORPH_TOPHAT, kernel)[outside]
    sharp = cv2.Laplacian(grey, cv2.CV_32F)[outside]
    noise = (grey - cv2.medianBlur(grey, 3))[outside]
    return {
        "gradient_mean": float(gradient.mean()),
        "gradient_q95": float(np.percentile(gradient, 95)),
        "gradient_across": float(across.mean() / max(across.mean() + along.mean(), 1e-6)),
        "sharpness": float(sharp.std()),
        "noise": float(noise.std()),
        "hair_mean": float(hair.mean()),
        "hair_share": float(np.mean(hair > 20)),
        "glare_mean": float(glare.mean()),
    }
