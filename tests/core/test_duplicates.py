"""The same picture twice is found by its bytes, a copy of it by its looks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from lesioncore.duplicates import content_duplicates, grey_copy, near_duplicates
from lesioncore.errors import LesionError
from lesioncore.splits import assign_groups


def picture(seed, shape=(120, 160)):
    """Return skin with one dark lesion of its own texture, (H, W, 3) uint8 RGB."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    radius = np.hypot(y - shape[0] / 2, x - shape[1] / 2)
    texture = cv2.GaussianBlur(generator.normal(size=shape), (0, 0), 4) * 180
    grey = 190 - 110 / (1 + np.exp((radius - 35) / 4)) + texture
    return np.clip(grey[..., None] * [1.0, 0.8, 0.7], 0, 255).astype(np.uint8)


def test_equal_bytes_are_duplicates_and_join_their_groups(tmp_path: Path):
    paths = []
    for index, seed in enumerate([0, 1, 0, 2, 0]):
        path = tmp_path / f"{index}.png"
        cv2.imwrite(str(path), picture(seed))
        paths.append(str(path))
    frame = pd.DataFrame({"image_id": list("abcdef"), "image": [*paths, None]})
    pairs = content_duplicates(frame)
    assert pairs == [("a", "c"), ("a", "e")]
    groups = assign_groups(frame, pairs)
    assert groups["a"] == groups["c"] == groups["e"]
    assert groups.nunique() == 4


def test_a_missing_image_is_named(tmp_path: Path):
    frame = pd.DataFrame({"image_id": ["a"], "image": [str(tmp_path / "gone.jpg")]})
    with pytest.raises(LesionError, match=r"gone\.jpg"):
        content_duplicates(frame)


def test_near_copies_are_found_and_other_lesions_are_not():
    pictures = [picture(seed) for seed in range(30)]
    recompressed = cv2.imdecode(
        cv2.imencode(".jpg", pictures[3], [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR
    )
    brighter = np.clip(pictures[7].astype(float) * 0.8 + 40, 0, 255).astype(np.uint8)
    square = cv2.resize(pictures[9][:, 20:140], (512, 512))  # as `isic2018_task1_512` was made
    everything = [*pictures, recompressed, brighter, square]
    copies = np.stack([grey_copy(image) for image in everything])
    assert copies.shape == (33, 32, 32)
    assert copies.dtype == np.float32
    names = [str(index) for index in range(33)]
    assert set(near_duplicates(names, copies)) == {("3", "30"), ("7", "31"), ("9", "32")}


def test_near_duplicates_at_the_edges():
    assert near_duplicates([], np.zeros((0, 32, 32), np.float32)) == []
    flat = np.full((2, 32, 32), 7, np.float32)
    assert near_duplicates(["a", "b"], flat) == []  # pictures of one colour show nothing
    with pytest.raises(LesionError, match="1 ids for 2 copies"):
        near_duplicates(["a"], flat)
