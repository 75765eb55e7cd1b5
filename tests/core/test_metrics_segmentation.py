"""Mask metrics equal those of the official ISIC scorer, empty masks included."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lesioncore.errors import LesionError
from lesioncore.metrics import dice, jaccard, mask_scores, thresholded_jaccard


def blob(generator, shape=(40, 60)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    centre = generator.uniform((10, 15), (30, 45))
    radius = generator.uniform(3, 20, size=2)
    return ((y - centre[0]) / radius[0]) ** 2 + ((x - centre[1]) / radius[1]) ** 2 < 1


def pairs():
    generator = np.random.default_rng(11)
    empty, full = np.zeros((40, 60), bool), np.ones((40, 60), bool)
    some = blob(generator)
    yield from [(empty, empty), (empty, some), (some, empty), (full, some), (full, full)]
    for _ in range(25):
        yield blob(generator), blob(generator)


def test_equals_isic_challenge_scoring(tmp_path: Path):
    scoring = pytest.importorskip("isic_challenge_scoring.segmentation")
    truth_folder, pred_folder = tmp_path / "truth", tmp_path / "pred"
    truth_folder.mkdir()
    pred_folder.mkdir()
    ours = []
    for index, (pred, truth) in enumerate(pairs()):
        name = f"ISIC_{index:07d}"
        cv2.imwrite(str(truth_folder / f"{name}_segmentation.png"), truth.astype(np.uint8) * 255)
        cv2.imwrite(str(pred_folder / f"{name}_segmentation.png"), pred.astype(np.uint8) * 255)
        ours.append(mask_scores(pred, truth))
    official = scoring.SegmentationScore.from_dir(truth_folder, pred_folder).macro_average
    for mine, theirs in [
        ("dice", "dice"),
        ("jaccard", "jaccard"),
        ("thresholded_jaccard", "threshold_jaccard"),
    ]:
        assert np.mean([row[mine] for row in ours]) == pytest.approx(official[theirs], abs=1e-6)


def test_each_pair_equals_the_official_formulas():
    official = pytest.importorskip("isic_challenge_scoring.metrics")
    confusion = pytest.importorskip("isic_challenge_scoring.confusion")
    for pred, truth in pairs():
        cm = confusion.create_binary_confusion_matrix(truth, pred)
        assert dice(pred, truth) == pytest.approx(official.binary_dice(cm), abs=1e-12)
        assert jaccard(pred, truth) == pytest.approx(official.binary_jaccard(cm), abs=1e-12)
        assert thresholded_jaccard(jaccard(pred, truth)) == pytest.approx(
            official.binary_threshold_jaccard(cm), abs=1e-12
        )


def test_empty_masks():
    empty, one = np.zeros((4, 4), bool), np.eye(4, dtype=bool)
    assert dice(empty, empty) == jaccard(empty, empty) == 1.0
    assert dice(empty, one) == dice(one, empty) == jaccard(empty, one) == 0.0


def test_threshold_keeps_065_itself():
    assert thresholded_jaccard(0.65) == 0.65
    assert thresholded_jaccard([0.6499, 0.65, 1.0]).tolist() == [0.0, 0.65, 1.0]


def test_any_dtype_and_no_overflow():
    pred, truth = np.zeros((300, 300), np.uint8), np.zeros((300, 300), np.uint8)
    pred[:200], truth[100:] = 255, 1
    assert jaccard(pred, truth) == pytest.approx(1 / 3)
    assert dice(pred, truth) == pytest.approx(0.5)


def test_masks_of_another_size_are_refused():
    with pytest.raises(LesionError, match=r"\(4, 4\).*\(5, 4\)"):
        dice(np.zeros((4, 4), bool), np.zeros((5, 4), bool))
