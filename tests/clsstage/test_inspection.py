"""The look before training: what is there twice is joined, what cannot be read is told."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from clsstage.examples import Examples
from clsstage.inspection import inspect
from lesioncore import duplicates
from lesioncore.errors import LesionError
from lesioncore.phantoms import make_phantom


@pytest.fixture
def examples(tmp_path: Path) -> Examples:
    """Four phantoms; "b" has the bytes of "a", "d" is "c" saved again with less quality."""
    pictures = {"a": (1, 95), "b": (1, 95), "c": (2, 95), "d": (2, 70), "e": (3, 95)}
    paths = []
    for name, (seed, quality) in pictures.items():
        paths.append(tmp_path / f"{name}.jpg")
        image = cv2.cvtColor(make_phantom(seed, 96).image, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(paths[-1]), image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    manifest = pd.DataFrame({"image_id": list(pictures), "image": [str(path) for path in paths]})
    return Examples(manifest, np.array([0.0, 0, 1, 1, 0]), "target")


def test_equal_bytes_and_near_copies_are_pairs(examples: Examples) -> None:
    kept, pairs = inspect(examples, 0)
    assert len(kept) == 5
    assert set(pairs) == {("a", "b"), ("c", "d")}


def test_near_copies_can_be_left_out(examples: Examples) -> None:
    assert inspect(examples, 0, near=False)[1] == [("a", "b")]


def test_too_many_images_to_compare_are_told(
    examples: Examples, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(duplicates, "MOST_COMPARED", 4)
    assert inspect(examples, 0)[1] == [("a", "b")]
    assert "too many to look for near duplicates" in caplog.text


def test_cut_off_image_is_named_or_left_out(examples: Examples) -> None:
    path = Path(examples.manifest["image"].iloc[4])
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(LesionError, match=r"e\.jpg"):
        inspect(examples, 0)
    kept, _ = inspect(examples, 1)
    assert kept.manifest["image_id"].tolist() == ["a", "b", "c", "d"]
