"""One photograph, or a folder of them, in; probabilities out, with what stands behind them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from lesioncore.errors import LesionError
from lesioncore.images import read_image
from pipelines import LesionPipeline
from pipelines.commands import main
from tests.e2e.conftest import TinyRun


@pytest.fixture(scope="module")
def pipeline(tiny_run: TinyRun) -> LesionPipeline:
    return LesionPipeline.load(tiny_run.folder, device="cpu")


@pytest.fixture(scope="module")
def photo(tiny_run: TinyRun) -> Path:
    return sorted((tiny_run.root / "images").iterdir())[0]


def test_a_photograph_gives_probability_mask_crop_and_status(pipeline, photo: Path) -> None:
    result = pipeline(photo, age=61, sex="female", site="back")
    image = read_image(photo)
    assert 0 < result.probability < 1
    assert result.mask.shape == image.shape[:2] and result.mask.dtype == bool
    assert result.crop.shape == (48, 48, 3) and result.crop.dtype == np.uint8
    assert result.status in ("ok", "empty", "distrusted")
    assert not {"age", "sex", "site"} & set(result.missing)
    assert "not a diagnosis" in str(result)


def test_an_array_and_its_file_give_the_same(pipeline, photo: Path) -> None:
    from_file, from_array = pipeline(photo, age=50), pipeline(read_image(photo), age=50)
    assert from_file.probability == from_array.probability
    assert np.array_equal(from_file.mask, from_array.mask)
    assert (from_file.image_id, from_array.image_id) == (photo.stem, "image")


def test_what_is_not_said_is_missing(pipeline, photo: Path) -> None:
    assert {"age", "sex", "site"} <= set(pipeline(photo).missing)


def test_two_stage_folders_are_the_same_as_the_run(tiny_run: TinyRun, pipeline, photo) -> None:
    other = LesionPipeline.load(
        tiny_run.folder / "segmentation", tiny_run.folder / "classification", device="cpu"
    )
    assert other(photo).probability == pipeline(photo).probability


@pytest.mark.parametrize(
    "image",
    [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((0, 8, 3), "u1")],
)
def test_an_array_that_is_no_photograph_is_refused(pipeline, image: np.ndarray) -> None:
    with pytest.raises(LesionError, match="uint8 RGB"):
        pipeline(image)


@pytest.mark.parametrize("age", ["old", -3, 200])
def test_an_age_that_nobody_has_is_refused(pipeline, photo: Path, age: object) -> None:
    with pytest.raises(LesionError, match="age is"):
        pipeline(photo, age=age)


def test_an_unknown_measurement_is_refused(pipeline, photo: Path) -> None:
    with pytest.raises(LesionError, match="tbp_lv_nothing"):
        pipeline(photo, tbp_lv_nothing=1.0)


def test_the_stages_the_wrong_way_round_are_refused(tiny_run: TinyRun) -> None:
    stages = tiny_run.folder / "classification", tiny_run.folder / "segmentation"
    with pytest.raises(LesionError):
        LesionPipeline.load(*stages, device="cpu")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LesionError, match="is not the folder of a `lesion run`"):
        LesionPipeline.load(tmp_path)


def command(run: TinyRun, tmp_path: Path, *words: object) -> int:
    given = [str(word) for word in words]
    os.chdir(tmp_path)
    return main(["predict", *given, "--run", str(run.folder), "--device=cpu"])


@pytest.fixture(autouse=True)
def _same_folder_afterwards():
    here = Path.cwd()
    yield
    os.chdir(here)


def test_the_command_prints_and_writes(tiny_run, photo, tmp_path: Path, capsys) -> None:
    code = command(tiny_run, tmp_path, photo, "--age=61", "--sex=f", "--site=back", "--overlays=o")
    out = capsys.readouterr().out
    assert code == 0
    assert "probability of malignancy" in out and "not a diagnosis" in out
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert list(table.columns[:2]) == ["image_id", "malignant"]
    assert table.loc[0, "image_id"] == photo.stem
    assert (tmp_path / "o" / f"{photo.stem}.png").is_file()


def test_a_folder_is_taken_whole_and_limit_cuts_it(tiny_run, tmp_path: Path) -> None:
    assert command(tiny_run, tmp_path, tiny_run.root / "images", "--limit=3") == 0
    assert len(pd.read_csv(tmp_path / "predictions.csv")) == 3


def test_a_table_of_metadata_wins_over_the_flags(tiny_run, photo, tmp_path: Path, capsys) -> None:
    table = tmp_path / "meta.csv"
    table.write_text(f"image_id,age,sex\n{photo.stem},33,male\n")
    assert command(tiny_run, tmp_path, photo, "--metadata", table, "--age=80", "--site=back") == 0
    from_table = pd.read_csv(tmp_path / "predictions.csv").loc[0, "malignant"]
    assert command(tiny_run, tmp_path, photo, "--age=33", "--sex=male", "--site=back") == 0
    assert pd.read_csv(tmp_path / "predictions.csv").loc[0, "malignant"] == from_table


def test_a_row_of_metadata_is_of_one_photograph(tiny_run, photo, tmp_path: Path, caplog) -> None:
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
        shutil.copy(photo, tmp_path / name / "spot.jpg")
    (tmp_path / "people.csv").write_text("image_id,age\nspot,70\nleft_spot.jpg,30\n")
    words = (tmp_path / "left", tmp_path / "right", "--metadata", tmp_path / "people.csv")
    assert command(tiny_run, tmp_path, *words) == 0
    missing = pd.read_csv(tmp_path / "predictions.csv").set_index("image_id")["missing"]
    assert "age" not in missing["left_spot.jpg"]
    assert "age" in missing["right_spot.jpg"]


def test_photographs_of_one_name_in_two_folders_keep_apart(tiny_run, photo, tmp_path) -> None:
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
        shutil.copy(photo, tmp_path / name / "spot.jpg")
    assert command(tiny_run, tmp_path, tmp_path / "left", tmp_path / "right") == 0
    ids = pd.read_csv(tmp_path / "predictions.csv")["image_id"]
    assert ids.nunique() == 2


def test_a_broken_photograph_is_named_and_the_rest_goes_on(tiny_run, photo, tmp_path, caplog):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photo.read_bytes()[:300])
    assert command(tiny_run, tmp_path, broken, photo) == 1
    table = pd.read_csv(tmp_path / "predictions.csv").set_index("image_id")
    assert np.isnan(table.loc["broken", "malignant"])
    assert table.loc["broken", "mask_status"] == "unread"
    assert table.loc[photo.stem, "malignant"] > 0
    assert "1 of 2 photographs could not be read" in caplog.text
    assert command(tiny_run, tmp_path, broken, photo, "--max-failed=1") == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["/nowhere.jpg"], 1, "no such photograph or folder: /nowhere.jpg"),
        (["empty"], 1, "no photograph in empty"),
        (["spot.png", "--sex=femal"], 2, "unknown sex 'femal'"),
        (["spot.png", "--site=elbo"], 2, "unknown site 'elbo'"),
        (["spot.png", "--age=-3"], 2, "age is -3"),
        ([], 2, "missing: PHOTOS"),
    ],
)
def test_wrong_calls_say_what_is_wrong(
    tiny_run, tmp_path: Path, capsys, words: list[str], code: int, said: str
) -> None:
    (tmp_path / "empty").mkdir()
    cv2.imwrite(str(tmp_path / "spot.png"), np.full((64, 64, 3), 120, np.uint8))
    assert command(tiny_run, tmp_path, *words) == code
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error


def test_without_stages_the_way_to_get_some_is_named(
    photo: Path, capsys, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("weights.resolve.SHIPPED", tmp_path / "none")
    assert main(["predict", str(photo)]) == 2
    assert "lesion demo" in capsys.readouterr().err


def test_the_weights_that_ship_answer_without_any_training(
    photo: Path, capsys, tmp_path: Path
) -> None:
    given = ["--age=61", "--sex=female", "--site=back", "--device=cpu"]
    out = ["--out", str(tmp_path / "p.csv"), "--overlays", str(tmp_path / "overlays")]
    assert main(["predict", str(photo), *given, *out]) == 0
    said = capsys.readouterr().out
    assert "probability of malignancy" in said and "mask " in said
    assert "not a diagnosis" in said
    assert (tmp_path / "overlays" / f"{photo.stem}.png").is_file()
    row = pd.read_csv(tmp_path / "p.csv").iloc[0]
    assert row["model"] == "lesion-classifier" and 0 <= row["malignant"] <= 1
