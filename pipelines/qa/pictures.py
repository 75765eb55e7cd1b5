"""Pictures as the page gets them: JPEG of a bounded size, the last ones kept."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import cv2
import numpy as np

from lesioncore.errors import LesionError
from lesioncore.images import read_image
from pipelines.contours import fit
from pipelines.qa.pixels import VIEW_SIDE, view_shape

#: High, and colours at full resolution: reviewers judge borders.
_QUALITY = 93
#: Some hundred pictures of a few hundred kilobytes.
_KEPT = 256


class Pictures:
    """Rendered pictures of a round. May be used by several threads.

    Parameters
    ----------
    images : mapping of str to str
        Image id to the reference of its picture.
    """

    def __init__(self, images: Mapping[str, str]) -> None:
        self._images = images
        self.jpeg = lru_cache(maxsize=_KEPT)(self._jpeg)

    def _jpeg(self, image_id: str, side: int = VIEW_SIDE) -> bytes:
        """Return the picture with its longer side at `side` pixels, smaller where it is smaller.

        Raises
        ------
        LesionError
            The image cannot be read.
        """
        image = read_image(self._images[image_id])
        longer = max(view_shape((image.shape[0], image.shape[1])))
        if side < longer or longer < max(image.shape[:2]):
            image, _ = fit(image, min(side, longer))
        done, data = cv2.imencode(
            ".jpg",
            np.ascontiguousarray(image[:, :, ::-1]),
            [
                cv2.IMWRITE_JPEG_QUALITY, _QUALITY,
                cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
            ],
        )  # fmt: skip
        if not done:
            raise LesionError(f"cannot encode the picture of {image_id} as JPEG")
        return bytes(data)
