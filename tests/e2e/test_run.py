"""`lesion run` does every step once, says why, and leaves what it promises."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from lesioncore.cache import MaskCache
from lesioncore.files import read_json
from pipelines.commands import main
from tests.e2e.conftest import TinyRun, run_flags

STEPS = ("segment", "cache", "classify", "predict", "evaluate", "overlay", "report")


@pytest.fixture
def copied(tiny_run: TinyRun, tmp_path: Path) -> TinyRun:
    """A copy that a test may change."""
    folder = tmp_path / "tiny"
    shutil.copytree(tiny_run.folder, folder)
    return TinyRun(folder, tiny_run.root, run_flags(tiny_run.root, folder))


def skipped_and_run(caplog) -> tuple[list[str], list[str]]:
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("[")]
    skipped = [line.split()[1].rstrip(":") for line in lines if "skipped:" in line]
    ran = [line.split()[1].rstrip(":") for line in lines if "(runs:" in line]
    return skipped, ran


def test_every_result_is_there(tiny_run: TinyRun) -> None:
    for name in ("run.yaml", "segmentation/run.json", "cache/index.json", "classification/run.json",
                 "predictions.csv", "evaluation/scores.json", "evaluation/images.parquet",
                 "overlays/worst.png", "overlays/random.png", "report.html"):  # fmt: skip
        assert (tiny_run.folder / name).is_file(), name
    states = [read_json(tiny_run.folder / "steps" / f"{step}.json") for step in STEPS]
    assert all(state["complete"] for state in states)


def test_masks_of_training_images_are_out_of_fold(tiny_run: TinyRun) -> None:
    table = MaskCache(tiny_run.folder / "cache").table().set_index("image_id")
    split = pd.read_csv(tiny_run.folder / "segmentation" / "split.csv").set_index("image_id")
    assert not table["in_sample"].any()
    for image_id, row in split[split["role"] == "train"].iterrows():
        assert table.loc[image_id, "member"] == str(row["fold"])
    assert set(table.loc[split.index[split["role"] == "test"], "member"]) == {"mean"}


def test_both_stages_keep_the_same_images_back_and_only_they_are_scored(tiny_run: TinyRun) -> None:
    listed = set((tiny_run.root.parent / "test.txt").read_text().split())
    for stage in ("segmentation", "classification"):
        split = pd.read_csv(tiny_run.folder / stage / "split.csv")
        assert set(split.loc[split["role"] == "test", "image_id"]) == listed
    assert set(pd.read_csv(tiny_run.folder / "predictions.csv")["image_id"]) == listed
    scores = read_json(tiny_run.folder / "evaluation" / "scores.json")
    assert scores["n"] == scores["n_masks"] == len(listed)
    assert scores["policy"] == "target" and scores["subset"] == "test"


def test_scores_json_has_the_keys_of_the_design(tiny_run: TinyRun) -> None:
    scores = read_json(tiny_run.folder / "evaluation" / "scores.json")
    assert {"n", "positives", "policy"} <= scores.keys()
    for name in ("auc", "pauc", "average_precision", "brier", "ece", "dice", "jaccard",
                 "thresholded_jaccard"):  # fmt: skip
        assert scores[name].keys() >= {"value", "low", "high"}


def test_the_same_command_again_skips_every_step(tiny_run: TinyRun, caplog) -> None:
    before = (tiny_run.folder / "report.html").stat().st_mtime_ns
    assert main(["run", *tiny_run.flags]) == 0
    assert skipped_and_run(caplog) == (list(STEPS), [])
    assert (tiny_run.folder / "report.html").stat().st_mtime_ns == before


def test_the_written_config_repeats_the_run(tiny_run: TinyRun, caplog) -> None:
    assert main(["run", "--config", str(tiny_run.folder / "run.yaml")]) == 0
    assert skipped_and_run(caplog) == (list(STEPS), [])
    config = yaml.safe_load((tiny_run.folder / "run.yaml").read_text())
    assert config["segmentation"]["size"] == 64


def test_how_it_is_computed_is_no_reason_to_do_it_again(tiny_run: TinyRun, caplog) -> None:
    assert main(["run", *tiny_run.flags, "--workers=1", "--precision=fp32"]) == 0
    assert skipped_and_run(caplog)[1] == []


def test_a_changed_option_runs_its_step_and_those_behind_it(copied: TinyRun, caplog) -> None:
    assert main(["run", *copied.flags, "--classification.epochs=2"]) == 0
    skipped, ran = skipped_and_run(caplog)
    assert skipped == ["segment", "cache"]
    assert ran == ["classify", "predict", "evaluate", "overlay", "report"]
    assert "classification.epochs was 1 and is 2" in caplog.text
    assert (copied.folder / "classification~1" / "run.json").is_file()


def test_an_edited_mask_trains_stage_2_again(copied: TinyRun, caplog, capsys) -> None:
    from lesioncore.cache.edits import add_edit
    from lesioncore.images import read_mask

    cache = MaskCache(copied.folder / "cache")
    image_id = cache.ids()[0]
    truth = read_mask(copied.root / "masks" / f"{image_id}_segmentation.png")
    add_edit(copied.folder / "cache", image_id, truth, author="a test")
    assert main(["run", *copied.flags, "--dry-run"]) == 0
    plan = capsys.readouterr().out
    assert "cache     skip" in plan
    assert "classify  run" in plan and "masks was" in plan


def test_forced_masks_are_made_anew_and_edits_stay(copied: TinyRun, caplog) -> None:
    from lesioncore.cache.edits import add_edit
    from lesioncore.images import read_mask

    cache = copied.folder / "cache"
    image_id = MaskCache(cache).ids()[0]
    truth = read_mask(copied.root / "masks" / f"{image_id}_segmentation.png")
    add_edit(cache, image_id, truth, author="a test")
    assert main(["run", *copied.flags, "--force=cache"]) == 0
    assert "72 made now" in caplog.text
    assert MaskCache(cache).read(image_id).status == "edited"
    assert "edited" in pd.read_parquet(copied.folder / "evaluation" / "images.parquet").to_string()


def test_a_new_segmenter_draws_every_mask_anew(copied: TinyRun, caplog) -> None:
    assert main(["run", *copied.flags, "--segmentation.threshold=0.4"]) == 0
    skipped, ran = skipped_and_run(caplog)
    assert skipped == []
    assert ran == list(STEPS)
    assert (
        MaskCache(copied.folder / "cache")
        .row(MaskCache(copied.folder / "cache").ids()[0])
        .threshold
        == 0.4
    )
    assert (copied.folder / "segmentation~1" / "run.json").is_file()


def test_a_dry_run_writes_nothing(phantoms: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "dry"
    assert main(["run", *run_flags(phantoms, out), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(STEPS)
    assert all("  run   " in line for line in lines)
    assert not out.exists()


def test_the_folder_of_one_stage_is_not_taken_for_a_run(tiny_run, tmp_path: Path, capsys) -> None:
    for part in ("segmentation", "cache"):
        shutil.copytree(tiny_run.folder / part, tmp_path / part)
        assert main(["run", *run_flags(tiny_run.root, tmp_path / part)]) == 1
        assert "choose another --out" in capsys.readouterr().err
        assert not (tmp_path / part / "run.yaml").exists()


def test_force_does_a_step_again(copied: TinyRun, caplog) -> None:
    assert main(["run", *copied.flags, "--force=report", "--force=overlay"]) == 0
    assert skipped_and_run(caplog)[1] == ["overlay", "report"]


def test_moved_data_are_the_same_data(copied: TinyRun, tmp_path: Path, caplog) -> None:
    moved = tmp_path / "elsewhere" / "phantoms"
    shutil.copytree(copied.root, moved)
    shutil.copy(copied.root.parent / "test.txt", moved.parent / "test.txt")
    assert main(["run", *run_flags(moved, copied.folder)]) == 0
    skipped, _ = skipped_and_run(caplog)
    assert skipped[:3] == ["segment", "cache", "classify"]


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--dataset=ham1000"], 2, ["unknown dataset 'ham1000'", "ham10000"]),
        (["--root=/nowhere/at/all"], 1, ["/nowhere/at/all"]),
        (["--segmentation.folds=1"], 2, ["out-of-fold", "--segmentation.folds 2"]),
        (["--segmentation.size=100"], 2, ["multiple of 32"]),
        (["--classification.focus=crop+dilated_crop"], 2, ["says one thing twice"]),
        (["--force=segmentation"], 2, ["unknown step 'segmentation'", "segment"]),
        (["--preset=huge"], 2, ["unknown preset 'huge'", "cpu, demo, gpu"]),
        (["--segmentation.epochz=2"], 2, ["epochz"]),
        (["--test-list=/nowhere.txt"], 1, ["no such test list"]),
    ],
)
def test_errors_say_what_is_wrong_and_what_mends_it(
    flags: list[str], code: int, words: list[str], phantoms: Path, tmp_path: Path, capsys
) -> None:
    given = [f for f in run_flags(phantoms, tmp_path / "out")
             if f.split("=")[0] not in {flag.split("=")[0] for flag in flags}]  # fmt: skip
    if flags == ["--root=/nowhere/at/all"]:
        given = [
            f.replace("phantom", "ham10000") if f.startswith("--dataset") else f for f in given
        ]
    assert main(["run", *given, *flags]) == code
    error = capsys.readouterr().err
    assert "Traceback" not in error
    for word in words:
        assert word in error
    assert not (tmp_path / "out" / "segmentation").exists()


def test_an_archive_without_true_masks_names_the_way_out(phantoms: Path, tmp_path: Path, capsys):
    bare = tmp_path / "bare"
    shutil.copytree(phantoms / "images", bare)
    given = [f for f in run_flags(phantoms, tmp_path / "out") if not f.startswith(("--root", "--da",
             "--test-list"))]  # fmt: skip
    assert main(["run", "--dataset=folder", f"--root={bare}", *given]) == 1
    error = capsys.readouterr().err
    assert "no true masks" in error and "segstage" in error
