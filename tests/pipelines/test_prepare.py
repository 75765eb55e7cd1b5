"""`lesion prepare`: phantoms drawn by options, archives checked, problems counted and told."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from lesioncore.errors import LesionError, UsageError
from lesioncore.images import write_mask
from lesioncore.phantoms import make_phantom_archive
from lesioncore.records import read_manifest
from pipelines.prepare import image_size, prepare
from pipelines.prepare_config import PrepareConfig


def _write(path: Path, height: int, width: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    cv2.imwrite(str(path), noise)


@pytest.fixture
def ham(tmp_path: Path) -> Path:
    """HAM10000 in small: three images with masks, and a row without its image."""
    root = tmp_path / "ham"
    for number, (height, width) in enumerate([(30, 40), (30, 40), (24, 32)]):
        _write(root / "HAM10000_images" / f"ISIC_{number:07d}.jpg", height, width)
        mask = np.zeros((height, width), bool)
        mask[5:15, 5:20] = number != 1
        name = f"ISIC_{number:07d}_segmentation.png"
        write_mask(root / "HAM10000_segmentations_lesion_tschandl" / name, mask)
    pd.DataFrame(
        {
            "lesion_id": ["HAM_0", "HAM_0", "HAM_1", "HAM_2"],
            "image_id": [f"ISIC_{number:07d}" for number in range(4)],
            "dx": ["nv", "nv", "mel", "akiec"],
            "dx_type": "histo",
            "age": [50.0, 50.0, None, 70.0],
            "sex": ["male", "male", "female", "unknown"],
            "localization": ["back", "back", "face", "trunk"],
        }
    ).to_csv(root / "HAM10000_metadata.csv", index=False)
    return root


def test_phantoms_are_drawn_by_options(tmp_path, capsys):
    out = tmp_path / "p"
    config = PrepareConfig(dataset="phantom", out=out, n=9, size=48, seed=3, prevalence=0.4)
    assert prepare(config) == 0
    options = json.loads((out / "phantom.json").read_text())
    assert (options["n"], options["size"], options["seed"]) == (9, 48, 3)
    manifest = read_manifest(out / "manifest.parquet")
    assert len(manifest) == 9 and (manifest["source"] == "synthetic phantom").all()
    checks = json.loads((out / "checks.json").read_text())
    assert checks["files"]["sizes"] == {"48x48": 9} and checks["masks"] == 9
    assert "ynthetic" in capsys.readouterr().out
    assert prepare(config) == 0  # the same again is no work and no error
    with pytest.raises(LesionError, match="n is 9, not 10"):
        prepare(PrepareConfig(dataset="phantom", out=out, n=10, size=48, seed=3, prevalence=0.4))


def test_archive_gets_manifest_and_checks(ham, tmp_path, capsys):
    out = tmp_path / "out"
    assert prepare(PrepareConfig(dataset="ham10000", root=ham, out=out)) == 0
    manifest = read_manifest(out / "manifest.parquet")
    assert list(manifest["image_id"]) == ["ISIC_0000000", "ISIC_0000001", "ISIC_0000002"]
    checks = json.loads((out / "checks.json").read_text())
    assert checks["images_missing"] == {"count": 1, "first": ["ISIC_0000003"]}
    assert checks["files"]["sizes"] == {"40x30": 2, "32x24": 1}
    assert checks["policy"] == "cancer+ak"
    assert checks["labels"]["cancer+ak"] == {"malignant": 2, "benign": 2, "unknown": 0}
    assert checks["labels"]["melanoma"]["malignant"] == 1
    assert checks["values_missing"]["age"] == 1 and checks["values_missing"]["sex"] == 1
    assert "dx_type" in checks["leaking_columns"]
    page = (out / "checks.md").read_text()
    assert "ISIC_0000003" in page and "| cancer+ak (default) | 2 | 2 | 0 |" in page
    assert capsys.readouterr().out.strip() == page.strip()


def test_rows_without_images_can_be_kept(ham, tmp_path):
    prepare(PrepareConfig(dataset="ham10000", root=ham, out=tmp_path / "o", images=False, limit=4))
    table = pd.read_parquet(tmp_path / "o" / "manifest.parquet")
    assert len(table) == 4 and table["image"].isna().sum() == 1


def test_mask_of_another_size_is_a_problem(ham, tmp_path):
    wrong = ham / "HAM10000_segmentations_lesion_tschandl" / "ISIC_0000002_segmentation.png"
    write_mask(wrong, np.ones((10, 10), bool))
    for check in ("headers", "pixels"):
        config = {"dataset": "ham10000", "root": ham, "out": tmp_path / check, "check": check}
        assert prepare(PrepareConfig(**config)) == 1
        assert prepare(PrepareConfig(**config, max_failed=1)) == 0
        problems = json.loads((tmp_path / check / "checks.json").read_text())["files"]["problems"]
        assert list(problems) == ["ISIC_0000002"]


def test_pixels_find_truncated_files_empty_masks_and_equal_files(ham, tmp_path):
    image = ham / "HAM10000_images" / "ISIC_0000002.jpg"
    image.write_bytes(image.read_bytes()[:-200])
    config = PrepareConfig(dataset="ham10000", root=ham, out=tmp_path / "o", check="pixels")
    assert prepare(config) == 1
    files = json.loads((tmp_path / "o" / "checks.json").read_text())["files"]
    assert list(files["problems"]) == ["ISIC_0000002"]
    assert files["empty_masks"] == ["ISIC_0000001"]
    assert [sorted(pair) for pair in files["equal_files"]] == [["ISIC_0000000", "ISIC_0000001"]]


def test_nothing_is_opened_when_told_so(ham, tmp_path):
    (ham / "HAM10000_images" / "ISIC_0000002.jpg").write_bytes(b"no picture")
    base = {"dataset": "ham10000", "root": ham, "out": tmp_path / "o"}
    assert prepare(PrepareConfig(**base, check="none")) == 0
    assert prepare(PrepareConfig(**base)) == 1


def test_no_image_at_all_says_how_to_go_on(ham, tmp_path):
    for image in (ham / "HAM10000_images").iterdir():
        image.unlink()
    with pytest.raises(LesionError, match="--images false"):
        prepare(PrepareConfig(dataset="ham10000", root=ham, out=tmp_path / "o"))


def test_unknown_reader_is_a_wrong_call(tmp_path):
    with pytest.raises(UsageError, match="phantom"):
        prepare(PrepareConfig(dataset="phantoms", out=tmp_path / "o"))


def test_size_follows_the_orientation_of_the_camera(tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "turned.jpg", exif=exif)
    assert image_size(str(tmp_path / "turned.jpg")) == (40, 20)


def test_phantoms_elsewhere_are_read_like_any_archive(tmp_path):
    make_phantom_archive(tmp_path / "root", 4, seed=0, size=32)
    config = PrepareConfig(dataset="phantom", root=tmp_path / "root", out=tmp_path / "o")
    assert prepare(config) == 0
    assert len(read_manifest(tmp_path / "o" / "manifest.parquet")) == 4
    assert not (tmp_path / "o" / "images").exists()


@pytest.mark.real_data
def test_real_ham10000(real_data, tmp_path):
    root = real_data / "ham10000_200x150"
    if not root.is_dir():
        pytest.skip(f"no {root}")
    assert prepare(PrepareConfig(dataset="ham10000", root=root, out=tmp_path, limit=300)) == 0
    checks = json.loads((tmp_path / "checks.json").read_text())
    assert checks["images_missing"]["count"] == 0 and checks["masks"] == 300
    assert checks["files"]["sizes"] == {"200x150": 300}


def test_an_official_part_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    root = tmp_path / "isic2024"
    for part, ids in (("train", ("a", "b")), ("test", ("c",))):
        for name in ids:
            _write(root / f"{part}-image" / "image" / f"{name}.jpg", 20, 20)
        table = pd.DataFrame({"isic_id": ids, "patient_id": ids, "age_approx": 50.0})
        if part == "train":
            table["target"] = [0, 1]
        table.to_csv(root / f"{part}-metadata.csv", index=False)
    options = {"dataset": "isic2024", "root": root, "check": "none"}
    assert prepare(PrepareConfig(**options, split="train", out=tmp_path / "out")) == 0
    assert read_manifest(tmp_path / "out" / "manifest.parquet")["image_id"].tolist() == ["a", "b"]
