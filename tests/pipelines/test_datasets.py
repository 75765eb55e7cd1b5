"""Data are the same when their content is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lesioncore.config import DataOptions
from lesioncore.readers import load_manifest
from pipelines.datasets import data_fingerprint
from pipelines.steps import differences


def fingerprint(root: Path) -> dict:
    options = DataOptions(dataset="phantom", root=root, n=96)
    return data_fingerprint(load_manifest(options), "phantom")


@pytest.fixture
def moved(phantoms: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(phantoms, tmp_path / "moved"))


def changed(old: dict, new: dict) -> list[str]:
    return [line.split()[0] for line in differences(old, new)]


def test_a_moved_archive_is_the_same(phantoms: Path, moved: Path) -> None:
    assert fingerprint(phantoms) == fingerprint(moved)


def test_changed_bytes_of_an_image_or_a_mask_are_noticed(phantoms: Path, moved: Path) -> None:
    before = fingerprint(phantoms)
    image = sorted((moved / "images").iterdir())[3]
    image.write_bytes(image.read_bytes() + b"\0")
    assert changed(before, fingerprint(moved)) == ["images_sha256"]
    mask = sorted((moved / "masks").iterdir())[3]
    mask.write_bytes(mask.read_bytes() + b"\0")
    assert changed(before, fingerprint(moved)) == ["images_sha256", "masks_sha256"]


def test_a_changed_record_is_noticed(phantoms: Path, moved: Path) -> None:
    table = moved / "metadata.csv"
    text = table.read_text()
    table.write_text(text.replace("female", "male", 1))
    assert changed(fingerprint(phantoms), fingerprint(moved)) == ["records_sha256"]
