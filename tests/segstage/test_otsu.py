"""The classical floor: the family's tests, its steps, and its use by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lesioncore.cache import MaskCache
from lesioncore.errors import LesionError
from segstage.commands import main
from segstage.models import create_segmenter
from segstage.models.otsu import (
    Otsu,
    dark_corners,
    even_light,
    lesion_logits,
    otsu_threshold,
    without_hair,
)
from segstage.predictor import LesionSegmenter
from tests.segstage.family import SegmenterFamily

SKIN, LESION = (224, 180, 160), (120, 70, 50)


class TestOtsu(SegmenterFamily):
    name = "otsu"
    options: dict[str, Any] = {}  # noqa: RUF012


def disc(size: int = 128, radius: int = 30, y: int = 64, x: int = 64) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return np.hypot(rows - y, columns - x) <= radius


def picture(mask: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 4, (*mask.shape, 3))
    clean = np.where(mask[..., None], LESION, SKIN) + noise
    return clean.clip(0, 255).astype(np.uint8)


def jaccard(logits: np.ndarray, truth: np.ndarray) -> float:
    guess = logits > 0
    return float((guess & truth).sum() / (guess | truth).sum())


def test_a_dark_disc_is_found() -> None:
    truth = disc()
    assert jaccard(lesion_logits(picture(truth)), truth) > 0.85


def test_uneven_light_is_taken_off() -> None:
    truth = disc()
    light = np.linspace(0.55, 1.0, 128)[None, :, None]
    image = (picture(truth) * light).astype(np.uint8)
    assert jaccard(lesion_logits(image), truth) > 0.8
    slope = 1 - light[0, :, 0] * np.ones((128, 1))
    flat = even_light(slope.astype(np.float32), np.ones((128, 128), dtype=bool))
    assert np.ptp(flat) < 0.01


def test_the_rim_of_the_instrument_is_no_lesion() -> None:
    truth = disc(radius=22)
    image = picture(truth)
    image[~disc(radius=70)] = 5
    frame = dark_corners(image)
    assert frame[0, 0]
    assert frame[-1, -1]
    assert not frame[64, 64]
    assert jaccard(lesion_logits(image), truth) > 0.8


def test_hair_is_painted_over_and_skin_is_not() -> None:
    image = picture(np.zeros((128, 128), dtype=bool))
    hairy = image.copy()
    hairy[30:32] = (40, 30, 30)
    hairy[:, 90:92] = (40, 30, 30)
    cleaned = without_hair(hairy)
    assert cleaned.min() > 100
    assert np.array_equal(without_hair(image), image)


def test_of_several_parts_the_central_one_stays_and_holes_are_filled() -> None:
    truth = disc(radius=24)
    image = picture((truth & ~disc(radius=8)) | disc(radius=14, y=20, x=20))
    logits = lesion_logits(image)
    assert logits[64, 64] > 0
    assert logits[20, 20] < 0
    assert jaccard(logits, truth) > 0.8


def test_the_threshold_parts_two_heaps() -> None:
    generator = np.random.default_rng(1)
    values = np.concatenate([generator.normal(0.2, 0.03, 4000), generator.normal(0.7, 0.03, 1000)])
    assert 0.25 < otsu_threshold(values.astype(np.float32)) < 0.65


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_of_one_colour_has_no_lesion(level: int) -> None:
    assert lesion_logits(np.full((64, 64, 3), level, dtype=np.uint8)).max() < -9


def test_a_batch_of_any_shape_is_what_its_pictures_are_alone() -> None:
    segmenter = create_segmenter("otsu")
    pictures = np.stack([picture(disc()), picture(disc(radius=12, y=40))])[:, :96]
    images = segmenter.prepare(torch.from_numpy(pictures))
    with torch.inference_mode():
        found = segmenter(images)
    for one, image in zip(found, pictures, strict=True):
        assert np.array_equal(one[0].numpy(), lesion_logits(image))


def test_its_name_is_enough_to_predict_evaluate_and_cache(
    archive: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = ["--dataset", "phantom", "--root", str(archive), "--limit", "6", "--workers", "0"]
    cpu = ["--weights", "otsu", "--device", "cpu"]
    assert main(["cache", *cpu, *data, "--out", str(tmp_path / "cache")]) == 0
    assert "no record of what they learned" not in caplog.text
    masks = MaskCache(tmp_path / "cache")
    assert len(masks) >= 6
    assert not masks.table()["in_sample"].any()
    scores = tmp_path / "scores"
    words = ["evaluate", *cpu, *data, "--subset", "all", "--out", str(scores)]
    assert main(words) == 0
    assert json.loads((scores / "scores.json").read_text())["jaccard"]["value"] > 0.3
    photo = next(archive.rglob("*.jpg"))
    assert main(["predict", str(photo), *cpu, "--out", str(tmp_path / "masks")]) == 0
    assert list((tmp_path / "masks").glob("*_segmentation.png"))


def test_its_fingerprint_names_the_algorithm(monkeypatch: pytest.MonkeyPatch) -> None:
    first = LesionSegmenter.load("otsu", device="cpu").fingerprint
    assert first == LesionSegmenter.load("otsu", device="cpu").fingerprint
    assert first["segmenter"]["arch"] == {"name": "otsu", "algorithm_version": 1}
    monkeypatch.setattr(Otsu, "current_version", 2)
    second = LesionSegmenter.load("otsu", device="cpu").fingerprint
    assert second["segmenter"]["weights_sha256"] != first["segmenter"]["weights_sha256"]
    with pytest.raises(LesionError, match="version 1"):
        create_segmenter("otsu", algorithm_version=1)


def test_a_folder_of_that_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "otsu").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LesionError, match="no weights in otsu"):
        LesionSegmenter.load("otsu", device="cpu")
