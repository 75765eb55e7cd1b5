"""Shape and colour of a lesion from its photograph and mask: the ABCD rule, measured.

Definitions and units: docs/reference/measurements.md.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lesioncore import geometry
from lesioncore.colour import (
    COLOUR_SHARE,
    LESION_COLOURS,
    RING,
    colour_difference,
    individual_typology_angle,
    sample,
    shares_of_colours,
    skin_of,
    skin_ring,
    to_lab,
)
from lesioncore.errors import LesionError
from lesioncore.shape import asymmetry, border_contact, outline_of, principal_axes

#: Raise it when the same picture and mask would give other figures: they are then measured anew.
MEASUREMENTS_VERSION = 1
#: A 3D-TBP tile of ISIC 2024 shows 15 x 15 mm of skin, whatever its pixels (Kurtansky et al. 2024).
TILE_SIDE_MM = 15.0
#: A lesion with its ring is measured at this many pixels a side at most.
_WORK_SIDE = 320

_LENGTHS = ("max_feret", "major_axis", "minor_axis", "equivalent_diameter", "perimeter")
SHAPE = (
    "area_px", "area_mm2", "area_fraction",
    *(f"{name}_{unit}" for name in _LENGTHS for unit in ("px", "mm")),
    "asymmetry", "asymmetry_major", "asymmetry_minor",
    "compactness", "solidity", "radial_variation", "eccentricity", "border_contact",
)  # fmt: skip
COLOUR = (
    *(f"{part}_{channel}_{figure}"
      for part in ("lesion", "skin") for figure in ("mean", "median") for channel in "lab"),
    "lesion_l_std", "lesion_a_std", "lesion_b_std", "colour_variegation", "colours",
    *(f"share_{name}" for name in LESION_COLOURS),
    "delta_e", "ita_deg",
)  # fmt: skip
#: Every figure, in the order of the table.
MEASUREMENTS = (*SHAPE, *COLOUR)


def tile_mm_per_pixel(modality: object, width: int) -> float | None:
    """Return the scale of a picture, known for tiles of 3D total body photography alone."""
    return TILE_SIDE_MM / width if modality == "tile" and width > 0 else None


def measure(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], mm_per_pixel: float | None = None
) -> dict[str, float | None]:
    """Return every one of `MEASUREMENTS`, None where it is not known.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB
    mask : (H, W) bool
        An empty one gives None everywhere.
    mm_per_pixel : float, optional
        Without it the figures in mm are None.

    Raises
    ------
    LesionError
        Image and mask are of different sizes.
    """
    if image.shape[:2] != mask.shape or image.ndim != 3:
        raise LesionError(
            f"an image of shape {image.shape} and a mask of {mask.shape}",
            wanted="(H, W, 3) uint8 RGB and (H, W) bool",
        )
    found: dict[str, float | None] = dict.fromkeys(MEASUREMENTS)
    area = int(np.count_nonzero(mask))
    if area == 0:
        return found
    small, drawn, inside, scale = _working_copy(image, mask, area)
    found |= _shape(drawn, scale, area / mask.size)
    found["border_contact"] = border_contact(mask)
    found["area_px"] = float(area)
    found["equivalent_diameter_px"] = float(np.sqrt(4 * area / np.pi))
    if mm_per_pixel is not None:
        found["area_mm2"] = area * mm_per_pixel**2
        for name in _LENGTHS:
            pixels = found[f"{name}_px"]
            assert pixels is not None
            found[f"{name}_mm"] = pixels * mm_per_pixel
    return found | _colour(small, drawn, inside)


def _working_copy(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], area: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_], float]:
    """Return the lesion with its ring: image, mask, what is not the picture's border, and the
    scale (pixels here a pixel there, at most 1)."""
    height, width = mask.shape
    ring = int(np.ceil(max(4.0, RING[1] * np.sqrt(4 * area / np.pi)))) + 2
    y0, x0, y1, x1 = geometry.mask_box(mask)
    top, left = max(0, y0 - ring), max(0, x0 - ring)
    bottom, right = min(height, y1 + ring), min(width, x1 + ring)
    edge = max(1, round(0.01 * min(height, width)))
    inside = np.zeros(mask.shape, bool)
    inside[edge : height - edge, edge : width - edge] = True
    part = (slice(top, bottom), slice(left, right))
    crop, drawn, kept = image[part], mask[part], inside[part]
    scale = min(1.0, _WORK_SIDE / max(drawn.shape))
    if scale < 1:
        size = (max(1, round(drawn.shape[1] * scale)), max(1, round(drawn.shape[0] * scale)))
        crop = np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA))
        grey = cv2.resize(drawn.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
        smaller = np.asarray(grey) >= 128
        drawn = smaller if smaller.any() else np.asarray(grey) > 0
        kept = (
            np.asarray(cv2.resize(kept.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)) > 0
        )
    return np.ascontiguousarray(crop), drawn, kept, scale


def _shape(mask: NDArray[np.bool_], scale: float, fraction: float) -> dict[str, float | None]:
    axes = principal_axes(mask)
    outline = outline_of(mask, axes)
    over_major, over_minor = asymmetry(mask, axes)
    area = int(np.count_nonzero(mask))
    return {
        "area_fraction": fraction,
        "max_feret_px": outline["max_feret"] / scale,
        "major_axis_px": axes.major / scale,
        "minor_axis_px": axes.minor / scale,
        "perimeter_px": outline["perimeter"] / scale,
        "asymmetry": (over_major + over_minor) / 2,
        "asymmetry_major": over_major,
        "asymmetry_minor": over_minor,
        "compactness": outline["perimeter"] ** 2 / (4 * np.pi * area),
        "solidity": outline["solidity"],
        "radial_variation": outline["radial_variation"],
        "eccentricity": axes.eccentricity,
    }


def _colour(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], inside: NDArray[np.bool_]
) -> dict[str, float | None]:
    lesion = to_lab(sample(image, mask))
    spread = lesion.std(axis=0)
    shares = shares_of_colours(lesion)
    found: dict[str, float | None] = {
        **_lab("lesion", lesion),
        **{f"lesion_{channel}_std": float(v) for channel, v in zip("lab", spread, strict=True)},
        "colour_variegation": float(np.sqrt((spread**2).sum())),
        "colours": float(sum(share >= COLOUR_SHARE for share in shares.values())),
        **{f"share_{name}": share for name, share in shares.items()},
    }
    skin = skin_of(sample(image, skin_ring(mask, inside)))
    if skin is not None:
        typical = np.median(skin, axis=0)
        found |= _lab("skin", skin)
        found["delta_e"] = colour_difference(np.median(lesion, axis=0), typical)
        found["ita_deg"] = individual_typology_angle(typical)
    return found


def _lab(part: str, lab: NDArray[np.float64]) -> dict[str, float | None]:
    figures = {"mean": lab.mean(axis=0), "median": np.median(lab, axis=0)}
    return {
        f"{part}_{channel}_{name}": float(value)
        for name, values in figures.items()
        for channel, value in zip("lab", values, strict=True)
    }
