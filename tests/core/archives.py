"""Tiny archives in their official layouts, for the tests of the readers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import h5py
import numpy as np


def picture(name: str) -> np.ndarray:
    """A (12, 16, 3) picture that differs from name to name."""
    random = np.random.default_rng(sum(map(ord, name)))
    return random.integers(0, 255, (12, 16, 3), dtype=np.uint8)


def put_images(folder: Path, ids: Iterable[str], suffix: str = ".jpg") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ids:
        assert cv2.imwrite(str(folder / f"{name}{suffix}"), picture(name))


def put_masks(folder: Path, ids: Iterable[str], ending: str = "_segmentation.png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((12, 16), np.uint8)
    mask[3:9, 4:12] = 255
    for name in ids:
        assert cv2.imwrite(str(folder / f"{name}{ending}"), mask)


def put_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.strip() + "\n", encoding="utf-8")


def put_store(path: Path, ids: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name in ids:
            data = cv2.imencode(".jpg", picture(name))[1].tobytes()
            file.create_dataset(name, data=np.bytes_(data))
