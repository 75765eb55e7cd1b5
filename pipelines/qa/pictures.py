"""Pictures as the page gets them: JPEG of a bounded size, the last ones kept."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from lesioncore.errors import LesionError
from lesioncore.images import read_image
from pipelines.contours import fit, outlined
from pipelines.qa.pixels import view_shape

#: High, and colours at full resolution: reviewers judge borders.
_QUALITY = 93
#: Some hundred pictures of a few hundred kilobytes.
_KEPT = 256
#: Side of the pictures in lists, pixels.
_THUMBNAIL = 320


class Pictures:
    """Rendered pictures of a round. May be used by several threads.

    Parameters
    ----------
    images : mapping of str to str
        Image id to the reference of its picture.
    """

    def __init__(self, images: Mapping[str, str]) -> None:
        self._images = images
        #: The JPEG of an image at the size of the page, see `pixels.view_shape`.
        self.jpeg = lru_cache(maxsize=_KEPT)(self._jpeg)

    def _jpeg(self, image_id: str) -> bytes:
        image = read_image(self._images[image_id])
        longer = max(view_shape((image.shape[0], image.shape[1])))
        return _encoded(image if longer == max(image.shape[:2]) else fit(image, longer)[0])

    def thumbnail(self, image_id: str, mask: NDArray[np.bool_]) -> bytes:
        """Return a small JPEG of an image with its mask (H, W) outlined."""
        image = read_image(self._images[image_id])
        return _encoded(outlined(image, None, mask if mask.any() else None, _THUMBNAIL))


def _encoded(picture: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(
        ".jpg",
        np.ascontiguousarray(picture[:, :, ::-1]),
        [
            cv2.IMWRITE_JPEG_QUALITY, _QUALITY,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        ],
    )  # fmt: skip
    if not done:
        raise LesionError(f"cannot encode a picture of shape {picture.shape} as JPEG")
    return bytes(data)
