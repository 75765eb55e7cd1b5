"""Real lesions as the network learns them: square crops with skin around, small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from lesioncore.geometry import crop_with_padding, dilate_box, mask_box

if TYPE_CHECKING:
    from pipelines.synthesis.material import Material
    from pipelines.synthesis.transplant import Lesion

#: Skin on each side of a lesion, in parts of its longer side.
MARGIN = 0.35


def square_crop(lesion: Lesion, size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the lesion with its skin, (size, size, 3) uint8 RGB, and the mask of that crop."""
    box = dilate_box(mask_box(lesion.mask), MARGIN, lesion.mask.shape)
    image = np.ascontiguousarray(crop_with_padding(lesion.image, box))
    mask = crop_with_padding(lesion.mask.astype(np.uint8) * 255, box)
    method = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_CUBIC
    small = cv2.resize(image, (size, size), interpolation=method)
    area = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR
    part = cv2.resize(np.ascontiguousarray(mask), (size, size), interpolation=area)
    return np.asarray(small, np.uint8), np.asarray(part >= 128)


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
