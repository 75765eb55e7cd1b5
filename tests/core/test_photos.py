"""Photographs are found where they lie, and masks beside them are not taken for photographs."""

from __future__ import annotations

from pathlib import Path

import pytest

from lesioncore.errors import LesionError
from lesioncore.photos import find_photos, photo_names


def test_folders_give_their_images_and_no_masks(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "a_segmentation.png", "b_mask.png", "notes.txt", "deep/c.jpeg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_photos([tmp_path, tmp_path / "a.png"])
    assert [path.name for path in found] == ["a.png", "b.JPG", "c.jpeg"]


@pytest.mark.parametrize(("name", "words"), [("none", "no such photograph"), ("", "no photograph")])
def test_nothing_to_look_at_is_said(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(LesionError, match=words):
        find_photos([tmp_path / name])


def test_no_two_photographs_have_the_same_name() -> None:
    paths = ["a/x/1.jpg", "b/x/1.jpg", "b/x/1.png", "2.jpg", "/c/3.jpg", "3.jpg", "a/x.jpg"]
    names = photo_names([Path(path) for path in paths])
    assert list(names.values()) == [
        "a_x_1.jpg", "b_x_1.jpg", "1.png", "2", "c_3.jpg", "3.jpg", "x",
    ]  # fmt: skip
