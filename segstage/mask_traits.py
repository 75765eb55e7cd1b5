"""What a mask and its probabilities look like, told in numbers that need no truth."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lesioncore.cache.entry import threshold_level
from lesioncore.measurements import TILE_SIDE_MM
from lesioncore.shape import border_contact, principal_axes
from segstage.postprocess import confidence

#: Raise it when a trait changes its meaning: a model of other traits is refused.
TRAITS_VERSION = 1

_LOW, _HIGH = 64, 191  # a quarter and three quarters, in 8 bits


class ExpectedSize(NamedTuple):
    """What another instrument says of the lesion's size, each part or None.

    Attributes
    ----------
    area : float or None
        Fraction of the picture.
    minor_axis : float or None
        Fraction of the picture's side.
    """

    area: float | None = None
    minor_axis: float | None = None


NO_SIZE = ExpectedSize()


def tile_size(area_mm2: float | None, minor_axis_mm: float | None) -> ExpectedSize:
    """Return what `tbp_lv_areaMM2` and `tbp_lv_minorAxisMM` of a tile let us expect of its mask."""
    area = None if not _positive(area_mm2) else float(area_mm2) / TILE_SIDE_MM**2  # type: ignore[arg-type]
    axis = None if not _positive(minor_axis_mm) else float(minor_axis_mm) / TILE_SIDE_MM  # type: ignore[arg-type]
    return ExpectedSize(area, axis)


def mask_traits(
    probability: NDArray[np.uint8],
    gated: NDArray[np.uint8],
    threshold: float,
    disagreement: float | None = None,
    expected_area: float | None = None,
    expected_minor_axis: float | None = None,
) -> dict[str, float]:
    """Return the traits of one mask, see docs/reference/mask-quality.md.

    Parameters
    ----------
    probability : (h, w) uint8
        Probability * 255 before post-processing, at the working resolution.
    gated : (h, w) uint8
        After it.
    threshold : float
    disagreement : float, optional
        Between members or views, 0 to 1.
    expected_area : float, optional
        Area of the lesion by other means, as a fraction of the picture.
    expected_minor_axis : float, optional
        Its minor axis, as a fraction of the picture's side.

    Returns
    -------
    dict of str to float
        `area`, `confidence`, `stability`, `rim`, `outside`, `parts`, `border_contact`, `solidity`,
        `compactness`, `off_centre`; where given also `disagreement`, `area_agreement`,
        `axis_agreement`. An empty mask has `area` 0 and nothing else but what is 0 with it.
    """
    level = threshold_level(threshold)
    mask = gated >= level
    pixels = int(np.count_nonzero(mask))
    if pixels == 0:
        return {"area": 0.0, "confidence": 0.0}
    height, width = mask.shape
    total = float(probability.sum(dtype=np.int64))
    inside = float(probability[mask].sum(dtype=np.int64))
    parts = cv2.connectedComponents((probability >= level).astype(np.uint8), connectivity=4)[0] - 1
    # The kept part alone: what was removed is 0 in `gated`.
    sure = int(np.count_nonzero(gated >= _HIGH))
    maybe = int(np.count_nonzero(gated >= _LOW))
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    length = sum(cv2.arcLength(c, True) for c in contours)
    hull = cv2.convexHull(np.concatenate(contours))
    # Areas through pixel centres lack half a pixel all around; both get it back.
    drawn = sum(cv2.contourArea(c) + cv2.arcLength(c, True) / 2 + 1 for c in contours)
    hulled = cv2.contourArea(hull) + cv2.arcLength(hull, True) / 2 + 1
    axes = principal_axes(mask)
    x, y = axes.x + 0.5, axes.y + 0.5
    doubt = probability.astype(np.float32) * (255.0 - probability.astype(np.float32))
    traits = {
        "area": pixels / mask.size,
        "confidence": confidence(probability, gated, threshold),
        "stability": sure / max(1, maybe),
        "rim": float(doubt.sum()) * 4 / 255**2 / pixels,
        "outside": 1 - inside / total,
        "parts": float(parts),
        "border_contact": border_contact(mask),
        "solidity": min(1.0, drawn / hulled),
        "compactness": min(1.0, 4 * np.pi * drawn / (length + np.pi) ** 2),
        "off_centre": float(np.hypot(x / width - 0.5, y / height - 0.5)),
    }
    if disagreement is not None and not np.isnan(disagreement):
        traits["disagreement"] = float(disagreement)
    if _positive(expected_area):
        traits["area_agreement"] = _agreement(traits["area"], float(expected_area))  # type: ignore[arg-type]
    if _positive(expected_minor_axis):
        # Pictures are stretched to a square; those with a measured size, tiles, are square.
        traits["axis_agreement"] = _agreement(axes.minor / width, float(expected_minor_axis))  # type: ignore[arg-type]
    return traits


def _positive(value: float | None) -> bool:
    return value is not None and bool(value > 0)  # NaN is not


def _agreement(found: float, expected: float) -> float:
    return min(found, expected) / max(found, expected)
