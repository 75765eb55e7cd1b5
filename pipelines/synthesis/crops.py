"""Real lesions as the network learns them: square crops with skin around, small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from lesioncore.geometry import dilate_box, mask_box

if TYPE_CHECKING:
    from pipelines.synthesis.material import Material
    from pipelines.synthesis.transplant import Lesion

#: Skin on each side of a lesion, in parts of its longer side.
MARGIN = 0.35


def square_crop(lesion: Lesion, size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the lesion with its skin, (size, size, 3) uint8 RGB, and the mask of that crop."""
    y0, x0, y1, x1 = square_box(lesion.mask)
    image = np.ascontiguousarray(lesion.image[y0:y1, x0:x1])
    mask = lesion.mask[y0:y1, x0:x1].astype(np.uint8) * 255
    method = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_CUBIC
    small = cv2.resize(image, (size, size), interpolation=method)
    area = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR
    part = cv2.resize(mask, (size, size), interpolation=area)
    return np.asarray(small, np.uint8), np.asarray(part >= 128)


def square_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the square around a lesion and its skin, never beyond the picture.

    A network would learn to draw what mirrors a picture at its border.
    """
    y0, x0, y1, x1 = dilate_box(mask_box(mask), MARGIN, mask.shape)
    side = min(y1 - y0, *mask.shape)
    top = min(max(0, (y0 + y1 - side) // 2), mask.shape[0] - side)
    left = min(max(0, (x0 + x1 - side) // 2), mask.shape[1] - side)
    return top, left, top + side, left + side


class LesionCrops(Dataset[dict[str, Any]]):
    """Planes and labels for the diffusion network, turned and mirrored at random.

    Parameters
    ----------
    material : Material
    image_ids : list of str
    labels : list of int
        Class of each.
    size : int
    """

    def __init__(
        self, material: Material, image_ids: list[str], labels: list[int], size: int
    ) -> None:
        self._material = material
        self._ids = image_ids
        self._labels = labels
        self._size = size
        self._small: dict[int, NDArray[np.uint8]] = {}
        self.reseed(0)

    def reseed(self, seed: int) -> None:
        """Begin an epoch."""
        self._random = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, at: int) -> dict[str, Any]:
        if at not in self._small:
            # 16 kB a lesion at 64 pixels: kept, so that only the first epoch reads pictures.
            image, mask = square_crop(self._material.lesion(self._ids[at]), self._size)
            self._small[at] = np.dstack([image, mask.astype(np.uint8) * 255])
        planes = np.rot90(self._small[at], int(self._random.integers(4)))
        if self._random.random() < 0.5:
            planes = planes[:, ::-1]
        values = np.ascontiguousarray(planes.transpose(2, 0, 1), np.float32) / 127.5 - 1
        return {"planes": torch.from_numpy(values), "label": self._labels[at]}
