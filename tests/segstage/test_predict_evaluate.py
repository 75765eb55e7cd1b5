"""`segstage predict` and `segstage evaluate`: PNGs that the official scorer reads, equal scores."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from lesioncore.files import read_json
from lesioncore.phantoms import make_phantom_archive
from segstage.commands import main
from segstage.config import TrainConfig
from tests.segstage.conftest import flags


@pytest.fixture(scope="module")
def isic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms in the layout and with the names of ISIC 2018 task 1."""
    root = tmp_path_factory.mktemp("isic")
    drawn = tmp_path_factory.mktemp("drawn")
    make_phantom_archive(drawn, n=12, seed=9, size=96)
    images = root / "ISIC2018_Task1-2_Training_Input"
    masks = root / "ISIC2018_Task1_Training_GroundTruth"
    images.mkdir()
    masks.mkdir()
    pairs = zip(
        sorted((drawn / "images").iterdir()), sorted((drawn / "masks").iterdir()), strict=True
    )
    for number, (image, mask) in enumerate(pairs):
        name = f"ISIC_{9000000 + number}"
        image.rename(images / f"{name}{image.suffix}")
        mask.rename(masks / f"{name}_segmentation.png")
    return root


def test_same_scores_as_isic_challenge_scoring(
    run: TrainConfig, isic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    official = pytest.importorskip("isic_challenge_scoring.segmentation")
    photos = isic / "ISIC2018_Task1-2_Training_Input"
    weights = ["--weights", str(run.out), "--device", "cpu", "--workers", "0"]
    assert main(["predict", str(photos), *weights, "--out", str(tmp_path / "masks")]) == 0
    data = ["--dataset", "isic-task1", "--root", str(isic), "--subset", "all"]
    assert main(["evaluate", *weights, *data, "--out", str(tmp_path / "scores")]) == 0
    printed = json.loads(capsys.readouterr().out)
    given = ["--predictions", str(tmp_path / "masks"), "--out", str(tmp_path / "given")]
    assert main(["evaluate", *given, *data]) == 0
    (tmp_path / "masks" / "masks.csv").unlink()
    theirs = official.SegmentationScore.from_dir(
        isic / "ISIC2018_Task1_Training_GroundTruth", tmp_path / "masks"
    ).macro_average
    assert printed == read_json(tmp_path / "scores" / "scores.json")
    for ours in (printed, read_json(tmp_path / "given" / "scores.json")):
        assert ours["n"] == 12
        for name, key in (
            ("dice", "dice"),
            ("jaccard", "jaccard"),
            ("thresholded_jaccard", "threshold_jaccard"),
        ):
            assert ours[name]["value"] == pytest.approx(theirs[key], abs=1e-6)
            assert ours[name]["low"] <= ours[name]["value"] <= ours[name]["high"]


def test_masks_have_the_size_of_their_photo_and_two_values(
    run: TrainConfig, archive: Path, tmp_path: Path
) -> None:
    wide = tmp_path / "wide.png"
    cv2.imwrite(str(wide), np.full((50, 170, 3), 120, np.uint8))
    one = sorted((archive / "images").iterdir())[0]
    words = ["predict", str(wide), str(one), "--weights", str(run.out), "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "masks")]) == 0
    mask = cv2.imread(str(tmp_path / "masks" / "wide_segmentation.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (50, 170)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 255}
    table = pd.read_csv(tmp_path / "masks" / "masks.csv").set_index("image_id")
    assert set(table.index) == {"wide", one.stem}
    assert table.loc["wide", "area"] == (mask > 0).sum()


def test_a_broken_photo_fails_alone(run: TrainConfig, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8 not a picture")
    good = sorted((archive / "images").iterdir())[0]
    words = ["predict", str(tmp_path / "bad.jpg"), str(good), "--weights", str(run.out)]
    assert main([*words, "--out", str(tmp_path / "masks"), "--device", "cpu"]) == 1
    table = pd.read_csv(tmp_path / "masks" / "masks.csv").set_index("image_id")
    assert table.loc["bad", "status"] == "failed"
    assert "bad.jpg" in table.loc["bad", "reason"]
    assert table.loc[good.stem, "status"] != "failed"


def test_photos_of_one_name_keep_apart(run: TrainConfig, archive: Path, tmp_path: Path) -> None:
    photo = sorted((archive / "images").iterdir())[0]
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
        shutil.copy(photo, tmp_path / name / "spot.png")
    words = ["predict", str(tmp_path / "left"), str(tmp_path / "right"), "--weights", str(run.out)]
    assert main([*words, "--out", str(tmp_path / "masks"), "--device", "cpu"]) == 0
    masks = sorted(path.name for path in (tmp_path / "masks").glob("*.png"))
    assert masks == ["left_spot.png_segmentation.png", "right_spot.png_segmentation.png"]


@pytest.mark.parametrize("what", ["nothing", "empty"])
def test_photos_that_cannot_be_meant(
    run: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    (tmp_path / "empty").mkdir()
    given, message = {
        "nothing": ([tmp_path / "nothing"], "no such photograph"),
        "empty": ([tmp_path / "empty"], "no photograph in"),
    }[what]
    words = ["predict", *map(str, given), "--weights", str(run.out), "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "masks")]) == 1
    assert message in capsys.readouterr().err


def test_the_test_subset_is_the_test_list(
    run: TrainConfig, held: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [*flags(run, "dataset", "root"), "--device", "cpu", "--workers", "0"]
    words = ["evaluate", "--weights", str(run.out), *common, "--out", str(tmp_path / "s")]
    assert main([*words, "--test_list", str(held)]) == 0
    rows = pd.read_csv(tmp_path / "s" / "images.csv")
    assert set(rows["image_id"]) == set(held.read_text().split())
    assert set(rows["member"]) == {"mean"}
    assert rows["dice"].is_monotonic_increasing
    assert json.loads(capsys.readouterr().out)["in_sample"] == 0


def test_the_validation_subset_is_scored_out_of_fold(run: TrainConfig, tmp_path: Path) -> None:
    common = [*flags(run, "dataset", "root"), "--device", "cpu", "--workers", "0"]
    words = ["evaluate", "--weights", str(run.out), *common, "--out", str(tmp_path / "s")]
    assert main([*words, "--subset", "validation"]) == 0
    rows = pd.read_csv(tmp_path / "s" / "images.csv").set_index("image_id").sort_index()
    oof = pd.read_csv(run.out / "oof.csv").set_index("image_id").sort_index()
    assert rows.index.equals(oof.index)
    assert rows["dice"].to_numpy() == pytest.approx(oof["dice"].to_numpy(), abs=0.01)


def test_missing_predictions_are_counted(
    run: TrainConfig, isic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for path in sorted((isic / "ISIC2018_Task1_Training_GroundTruth").iterdir())[:11]:
        (masks / path.name).write_bytes(path.read_bytes())
    data = ["--dataset", "isic-task1", "--root", str(isic), "--subset", "all"]
    words = ["evaluate", "--predictions", str(masks), *data, "--out", str(tmp_path / "s")]
    assert main(words) == 1
    scores = json.loads(capsys.readouterr().out)
    assert (scores["n"], scores["failed"], scores["dice"]["value"]) == (11, 1, 1.0)
    assert main([*words, "--max_failed", "1"]) == 0
    assert main([*words, "--weights", str(run.out)]) == 2


def test_an_empty_subset_is_refused(
    run: TrainConfig, isic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--dataset", "isic-task1", "--root", str(isic)]
    words = ["evaluate", "--weights", str(run.out), *data, "--out", str(tmp_path / "s")]
    assert main([*words, "--subset", "validation", "--device", "cpu"]) == 1
    assert "validated on none" in capsys.readouterr().err
