"""A small round of review for the tests of `lesion qa`: pictures, a cache, a database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lesioncore.cache import MaskCache, MaskCacheWriter, MaskEntry
from lesioncore.images import image_sha256

SHAPE = (60, 80)


def true_mask(number: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Return a disc, (H, W) bool, elsewhere for each number."""
    height, width = shape
    y, x = np.mgrid[:height, :width]
    centre = (height * (0.4 + 0.02 * (number % 8)), width * (0.4 + 0.02 * (number % 6)))
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < (0.22 * height) ** 2


def write_images(folder: Path, count: int, shape: tuple[int, int] = SHAPE) -> dict[str, str]:
    """Write dark discs on skin as PNG; return image id to path."""
    folder.mkdir(parents=True, exist_ok=True)
    images = {}
    for number in range(count):
        mask = true_mask(number, shape)
        picture = np.where(mask[..., None], (40, 50, 90), (160, 180, 220)).astype(np.uint8)
        path = folder / f"I_{number:04d}.png"
        cv2.imwrite(str(path), picture)
        images[path.stem] = str(path)
    return images


def write_masks(folder: Path, images: dict[str, str], shift: int = 0, **changes: Any) -> MaskCache:
    """Write the discs, `shift` pixels to the right, as a cache; the second image failed."""
    with MaskCacheWriter(folder, {"segmenter": {"arch": "test", "shift": shift}}) as writer:
        for number, (name, path) in enumerate(images.items()):
            shape = cv2.imread(path).shape[:2]
            mask = np.roll(true_mask(number, shape), shift, axis=1)
            options = {"quality": 0.5 + number / 1000, **changes}
            if number == 1:
                entry = MaskEntry.failed(
                    image_id=name, image_sha256=image_sha256(path), reason="a test"
                )
            else:
                entry = MaskEntry.from_mask(
                    image_id=name, image_sha256=image_sha256(path), mask=mask, member="0",
                    in_sample=False, **options,
                )  # fmt: skip
            writer.add(entry)
        writer.complete()
    return MaskCache(folder)
