"""The look before training: what is there twice is joined, what cannot be read is told."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from lesioncore import duplicates
from lesioncore.errors import LesionError
from lesioncore.images import image_sha256, write_mask
from lesioncore.inspection import inspect_images
from lesioncore.phantoms import make_phantom


@pytest.fixture
def manifest(tmp_path: Path) -> pd.DataFrame:
    """Four phantoms; "b" has the bytes of "a", "d" is "c" saved again with less quality."""
    pictures = {"a": (1, 95), "b": (1, 95), "c": (2, 95), "d": (2, 70), "e": (3, 95)}
    paths = []
    for name, (seed, quality) in pictures.items():
        paths.append(tmp_path / f"{name}.jpg")
        image = cv2.cvtColor(make_phantom(seed, 96).image, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(paths[-1]), image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return pd.DataFrame({"image_id": list(pictures), "image": [str(path) for path in paths]})


def test_equal_bytes_and_near_copies_are_pairs(manifest: pd.DataFrame) -> None:
    seen = inspect_images(manifest, workers=0)
    assert len(seen.manifest) == 5
    assert set(seen.pairs) == {("a", "b"), ("c", "d")}
    assert seen.digests["a"] == seen.digests["b"] == image_sha256(manifest["image"].iloc[0])


def test_near_copies_can_be_left_out(manifest: pd.DataFrame) -> None:
    assert inspect_images(manifest, near=False, workers=0).pairs == [("a", "b")]


def test_too_many_images_to_compare_are_told(
    manifest: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(duplicates, "MOST_COMPARED", 4)
    assert inspect_images(manifest, workers=0).pairs == [("a", "b")]
    assert "too many to look for near duplicates" in caplog.text


@pytest.mark.parametrize("near", [True, False])
def test_cut_off_image_is_named_or_left_out(
    manifest: pd.DataFrame, caplog: pytest.LogCaptureFixture, near: bool
) -> None:
    path = Path(manifest["image"].iloc[4])
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(LesionError, match=r"(?s)1 of 5 images.*e\.jpg"):
        inspect_images(manifest, near=near, workers=0)
    seen = inspect_images(manifest, near=near, workers=0, max_failed=1)
    assert seen.manifest["image_id"].tolist() == ["a", "b", "c", "d"]
    assert seen.kept.tolist() == [True, True, True, True, False]
    assert "1 of 5 images are left out" in caplog.text


def test_nothing_usable_is_refused_whatever_is_allowed(manifest: pd.DataFrame) -> None:
    manifest["image"] = "gone.jpg"
    with pytest.raises(LesionError, match="5 of 5 images"):
        inspect_images(manifest, workers=0, max_failed=9)


def test_a_mask_of_another_size_is_a_fault(manifest: pd.DataFrame, tmp_path: Path) -> None:
    for side in (96, 32):
        write_mask(tmp_path / f"{side}.png", np.ones((side, side), bool))
    manifest["mask"] = str(tmp_path / "96.png")
    assert inspect_images(manifest, masks=True, workers=0).kept.all()
    manifest.loc[2, "mask"] = str(tmp_path / "32.png")
    with pytest.raises(LesionError, match=r"32 x 32 pixels, its image is 96 x 96"):
        inspect_images(manifest, masks=True, workers=0)
