"""Distillation: the soft masks of a cache as targets."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesioncore.cache import MaskCache
from lesioncore.errors import LesionError
from lesioncore.images import read_image, read_mask
from lesioncore.transforms import stretch_only
from segstage.caching import cache
from segstage.config import CacheConfig, TrainConfig
from segstage.dataset import SegmentationDataset, with_masks
from segstage.teacher import Teacher
from segstage.train import train
from tests.segstage.conftest import tiny


@pytest.fixture(scope="module")
def taught(run: TrainConfig, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of the phantoms by a run of two members."""
    out = tmp_path_factory.mktemp("taught") / "cache"
    config = CacheConfig(
        dataset="phantom", root=archive, weights=run.out, out=out, workers=0, device="cpu"
    )
    assert cache(config) == 0
    return out


def test_the_target_lies_between_truth_and_teacher(taught: Path, manifest: pd.DataFrame) -> None:
    row = manifest.iloc[0]
    name, truth = str(row["image_id"]), read_mask(row["mask"], read_image(row["image"]).shape[:2])
    soft = MaskCache(taught).read(name).soft()
    assert np.array_equal(Teacher(taught, 1.0).target(name, truth), soft)
    assert np.array_equal(Teacher(taught, 0.0).target(name, truth), 255 * truth)
    half = Teacher(taught, 0.5).target(name, truth)
    assert np.allclose(half, (soft + 255.0 * truth) / 2, atol=0.51)
    assert np.array_equal(Teacher(taught, 0.5).target(name, None), soft)


def test_without_any_mask_there_is_no_target(taught: Path) -> None:
    teacher = Teacher(taught)
    truth = np.eye(4, dtype=bool)
    assert np.array_equal(teacher.target("unheard of", truth), 255 * truth)
    with pytest.raises(LesionError, match="neither true nor cached"):
        teacher.target("unheard of", None)


def test_a_cache_of_other_images_is_refused(taught: Path, manifest: pd.DataFrame) -> None:
    others = manifest.assign(image_id=[f"other_{n}" for n in range(len(manifest))])
    with pytest.raises(LesionError, match="segstage cache"):
        with_masks(others, 0, Teacher(taught))
    name = str(manifest["image_id"].iloc[0])
    with pytest.raises(LesionError, match="these very images"):
        Teacher(taught).target(name, np.eye(4, dtype=bool))


def test_images_without_a_mask_are_kept_where_the_teacher_has_one(
    taught: Path, manifest: pd.DataFrame
) -> None:
    blank = manifest.copy()
    blank.loc[blank.index[:5], "mask"] = None
    assert len(with_masks(blank, 0, Teacher(taught))) == len(manifest)
    with pytest.raises(LesionError, match="5 of 40"):
        with_masks(blank, 0)
    _, target = SegmentationDataset(blank, stretch_only(64), Teacher(taught))[0]
    assert target.shape == (64, 64)


def test_a_student_learns_from_a_cache(
    taught: Path, archive: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny(archive, tmp_path / "student", teacher=taught, teacher_weight=0.7, workers=1)
    assert train(config) == 0
    assert "the teacher has masks of 40 of 40 images" in caplog.text


def test_masks_that_flatter_the_teacher_are_told(
    taught: Path, manifest: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    teacher = Teacher(taught)
    plain = teacher.cache.row
    teacher.cache.row = lambda name: dataclasses.replace(plain(name), in_sample=True)  # type: ignore[method-assign]
    teacher.check(manifest)
    assert "40 of them are of images that the teacher learned from" in caplog.text


def test_a_weight_out_of_range_is_refused(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="teacher_weight"):
        tiny(archive, tmp_path, teacher_weight=1.5)
