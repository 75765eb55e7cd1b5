"""One crop: what is kept of an image, and how it is seen again."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from clsstage.crops.geometry import CropGeometry
from lesioncore.cache.entry import MaskEntry, threshold_level
from lesioncore.geometry import EMPTY_BOX, Box, mask_box

#: `masked` has a soft mask, `unmasked` shows the whole image, `failed` has no pixels.
STATUSES = ("masked", "unmasked", "failed")


@dataclass(frozen=True, kw_only=True, eq=False)
class CropRow:
    """All of a crop but its pixels.

    Attributes
    ----------
    image_id, image_sha256 : str
        Which image; SHA-256 of its bytes as 64 hex digits, empty where it could not be read.
    source_shape : (H, W)
        Size of the image, pixels.
    region : (y0, x0, y1, x1)
        Part of the image that the crop shows, half-open, image pixels.
    shape : (h, w)
        Size of the crop, pixels.
    whole_shape : (h, w)
        Size of the whole image that is kept beside the crop, pixels; zeros for none.
    box : (y0, x0, y1, x1)
        Of the lesion, half-open, in pixels of the crop; zeros without a mask.
    mask_box : (y0, x0, y1, x1)
        Around all of the soft mask that is not 0, half-open, in pixels of the crop.
    area : int
        Pixels of the crop that are lesion; at least 1 with a mask.
    threshold : float
        Probability from which a pixel is lesion, 0 to 1.
    status : str
        One of STATUSES.
    reason : str
        Why there is no mask, or no crop; empty otherwise.
    """

    image_id: str
    image_sha256: str
    source_shape: tuple[int, int]
    region: Box
    shape: tuple[int, int]
    whole_shape: tuple[int, int] = (0, 0)
    box: Box = EMPTY_BOX
    mask_box: Box = EMPTY_BOX
    area: int = 0
    threshold: float = 0.5
    status: str = "unmasked"
    reason: str = ""

    @property
    def scale(self) -> tuple[float, float]:
        """Crop pixels per image pixel, downwards and across; 1 where nothing was scaled."""
        y0, x0, y1, x1 = self.region
        return self.shape[0] / (y1 - y0), self.shape[1] / (x1 - x0)

    @property
    def level(self) -> int:
        """Smallest value of the soft mask that is lesion, 1 to 255."""
        return threshold_level(self.threshold)


@dataclass(frozen=True, kw_only=True, eq=False)
class Crop(CropRow):
    """A crop: its row and its pixels.

    Attributes
    ----------
    image : (h, w, 3) uint8 RGB
    mask : (h, w) uint8, or None
        Probability of lesion, 0 to 255.
    whole : (h, w, 3) uint8 RGB, or None
        The whole image to keep beside the crop; None of a crop that was read.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None = None
    whole: NDArray[np.uint8] | None = None


def make_crop(
    image: NDArray[np.uint8],
    mask: MaskEntry | None,
    geometry: CropGeometry,
    *,
    image_id: str,
    image_sha256: str = "",
    reason: str = "",
) -> Crop:
    """Return what is kept of an image.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB
    mask : MaskEntry or None
        Of the same image and size; None, or an empty one, keeps the whole image without a mask.
    geometry : CropGeometry
    image_id, image_sha256 : str
    reason : str
        Why there is no mask.
    """
    shape = (image.shape[0], image.shape[1])
    used = mask if mask is not None and mask.area > 0 else None
    box = None if used is None else used.box
    region = geometry.region(box, shape)
    y0, x0, y1, x1 = region
    size = _size(region, geometry.scale(box, shape))
    pixels = _resized(image[y0:y1, x0:x1], size)
    values = {
        "image_id": image_id,
        "image_sha256": image_sha256,
        "source_shape": shape,
        "region": region,
        "shape": size,
    }
    if used is None:
        return Crop(image=pixels, reason=reason, **values)  # type: ignore[arg-type]
    soft = _resized(used.soft()[y0:y1, x0:x1], size)
    # A lesion thinner than a pixel of the crop is still a lesion with a box.
    area = max(1, int(np.count_nonzero(soft >= threshold_level(used.threshold))))
    whole = None
    if geometry.mask_errors:
        whole = _resized(image, _size((0, 0, *shape), geometry.scale(None, shape)))
    return Crop(
        image=pixels,
        mask=soft,
        whole=whole,
        whole_shape=(0, 0) if whole is None else (whole.shape[0], whole.shape[1]),
        box=_box_in(used.box, region, size),
        mask_box=mask_box(soft),
        area=area,
        threshold=used.threshold,
        status="masked",
        **values,  # type: ignore[arg-type]
    )


def crop_source(crop: Crop) -> tuple[NDArray[np.uint8], MaskEntry | None]:
    """Return (image, mask) that `View.picture` takes in place of the original's.

    The picture is the same, for every margin and shift within the crop's geometry: exactly where
    the crop was not scaled and is stored without loss, otherwise up to resampling.
    """
    if crop.mask is None:
        return crop.image, None
    return crop.image, MaskEntry(
        image_id=crop.image_id,
        image_sha256=crop.image_sha256,
        shape=crop.shape,
        box=crop.box,
        area=crop.area,
        score=1.0,
        threshold=crop.threshold,
        member="crop",
        payload_shape=crop.shape,
        payload=crop.mask,
    )


def _size(region: Box, scale: float) -> tuple[int, int]:
    y0, x0, y1, x1 = region
    return max(1, round(scale * (y1 - y0))), max(1, round(scale * (x1 - x0)))


def _resized(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    if pixels.shape[:2] == size:
        return np.ascontiguousarray(pixels)
    return cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _box_in(box: Box, region: Box, size: tuple[int, int]) -> Box:
    """Return a box of the image in pixels of the crop, at least one pixel large."""
    edges = []
    for axis in (0, 1):
        start, stop = region[axis], region[axis + 2]
        scale = size[axis] / (stop - start)
        low = min(round((box[axis] - start) * scale), size[axis] - 1)
        high = max(low + 1, round((box[axis + 2] - start) * scale))
        edges.append((low, high))
    return edges[0][0], edges[1][0], edges[0][1], edges[1][1]
