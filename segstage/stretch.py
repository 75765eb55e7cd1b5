"""How an image becomes the square that segmenters see."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def stretch(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return an (H, W, 3) uint8 image at size x size: area average down, linear up.

    The same as `lesioncore.transforms.stretch_only`, which training uses.
    """
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    down = size < height or size < width
    method = cv2.INTER_AREA if down else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=method))
