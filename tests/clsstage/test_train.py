"""`clsstage train`: folds, what a run leaves behind, what it refuses, and how it resumes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from clsstage.members import read_member
from clsstage.train import train
from lesioncore.errors import LesionError, UsageError
from lesioncore.files import read_json
from tests.clsstage.conftest import COUNT, tiny, write_cache


def test_folds_score_every_image_by_a_member_that_did_not_see_it(two_folds):
    out = two_folds.out
    held_out = pd.read_csv(out / "oof.csv", dtype={"image_id": str})
    split = pd.read_csv(out / "split.csv", dtype={"image_id": str}).set_index("image_id")
    assert sorted(held_out["image_id"]) == sorted(split.index)
    assert (held_out["member"].to_numpy() == split["fold"].reindex(held_out["image_id"])).all()
    assert held_out["malignant"].between(0, 1).all()
    assert set(held_out["mask_status"]) == {"ok"}
    assert set(held_out["focus"]) == {"dilated_crop+soft_background"}
    scores = read_json(out / "metrics.json")
    assert scores["n"] == COUNT
    assert scores["subset"] == "validation"
    assert {"value", "low", "high"} == set(scores["auc"])


def test_a_run_describes_itself(two_folds):
    out = two_folds.out
    text = (out / "summary.md").read_text()
    assert "never a diagnosis" in text
    assert "AUC" in text and "48 ok" in text
    assert read_json(out / "run.json")["complete"] is True
    pinned = read_json(out / "masks.json")
    assert (pinned["count"], pinned["max_revision"]) == (COUNT, 0)
    for number in (0, 1):
        card = read_json(out / f"member-{number}" / "card.json")
        assert card["kind"] == "classifier"
        assert card["preprocessing"]["masks"]["rows"] == pinned["rows"]
        assert card["preprocessing"]["policy"] == "target"
        assert card["first_weights"]["source"] == "none"
        assert 0 <= card["metrics"]["validation"]["auc"] <= 1
        assert not (out / f"member-{number}" / "checkpoints").exists()
        assert (out / f"member-{number}" / "metrics.csv").is_file()


def test_the_encoder_is_fitted_on_the_training_rows_of_its_member(two_folds, manifest):
    split = pd.read_csv(two_folds.out / "split.csv").set_index("image_id")
    ages = manifest.set_index("image_id")["age"]
    for number in (0, 1):
        member = read_member(two_folds.out / f"member-{number}", number)
        age = next(field for field in member.encoder.fields if field.name == "age")
        seen = split.index[split["fold"] != number]
        assert age.centre == pytest.approx(ages.reindex(seen).median())


def test_a_finished_run_is_left_alone(two_folds, caplog):
    before = (two_folds.out / "oof.csv").stat().st_mtime_ns
    train(two_folds)
    assert "nothing to do" in caplog.text
    assert (two_folds.out / "oof.csv").stat().st_mtime_ns == before


def test_another_config_on_the_same_folder_is_refused(two_folds):
    with pytest.raises(LesionError, match="epochs: 2 -> 3"):
        train(replace(two_folds, epochs=3))


def test_finished_members_are_not_trained_again(two_folds, tmp_path, caplog):
    out = tmp_path / "cls"
    shutil.copytree(two_folds.out, out)
    record = read_json(out / "run.json")
    (out / "run.json").write_text(json.dumps(record | {"complete": False}))
    for name in ("validation.csv", "card.json"):
        (out / "member-1" / name).unlink()
    weights = (out / "member-0" / "weights.safetensors").read_bytes()
    train(replace(two_folds, out=out))
    assert "member-0 is finished" in caplog.text
    assert (out / "member-0" / "weights.safetensors").read_bytes() == weights
    again = pd.read_csv(out / "oof.csv")
    assert np.allclose(again["malignant"], pd.read_csv(two_folds.out / "oof.csv")["malignant"])


@pytest.mark.parametrize(
    "changes",
    [
        {"focus": "full"},
        {"focus": "full", "metadata": "none"},
        {"focus": "full", "metadata": ["age", "sex"], "ema": 0.0, "label_smoothing": 0.05},
        {"focus": "full", "resize": "late", "augment": "isic2020", "epochs": 1},
        {"focus": "full", "negative_ratio": 1.0, "positive_ratio": 2.0},
    ],
    ids=["full", "no metadata", "named metadata", "late resize", "sampled"],
)
def test_full_images_train_without_masks(archive, tmp_path, changes):
    config = tiny(archive, tmp_path / "cls", **changes)
    train(config)
    held_out = pd.read_csv(config.out / "oof.csv")
    assert set(held_out["mask_status"]) == {"none"}
    member = read_member(config.out / "member-0")
    if changes.get("metadata") == "none":
        assert member.encoder.width == 0
    assert (member.offset != (0.0,)) == ("negative_ratio" in changes)


@pytest.mark.parametrize("focus", ["mask_channel", "crop+lesion_only", "background_only"])
def test_every_kind_of_focus_trains(archive, masks, tmp_path, focus):
    train(tiny(archive, tmp_path / "cls", masks=masks, focus=focus, epochs=1))
    assert set(pd.read_csv(tmp_path / "cls" / "oof.csv")["focus"]) == {focus}


def test_a_focus_without_masks_is_refused(archive, tmp_path):
    with pytest.raises(LesionError, match=r"(?s)needs masks.*segstage cache.*--focus full"):
        train(tiny(archive, tmp_path / "cls"))


def test_a_device_that_is_not_there_leaves_no_run_behind(archive, tmp_path):
    absent = "mps" if torch.cuda.is_available() else "cuda"
    config = tiny(archive, tmp_path / "cls", focus="full", device=absent)
    with pytest.raises(UsageError, match=f"no '{absent}' device"):
        train(config)
    assert not config.out.exists()


def test_in_sample_masks_leave_no_run_behind(archive, manifest, tmp_path):
    folder = write_cache(tmp_path / "cache", manifest, in_sample=True)
    config = tiny(archive, tmp_path / "cls", masks=folder, epochs=1)
    with pytest.raises(LesionError, match="trained on the same image"):
        train(config)
    assert not config.out.exists()
    train(replace(config, allow_in_sample_masks=True))


def test_one_class_is_refused(archive, tmp_path):
    with pytest.raises(LesionError, match=r"are benign|are malignant"):
        train(tiny(archive, tmp_path / "cls", focus="full", limit=1))


def test_unreadable_images_are_counted_and_refused(archive, tmp_path, caplog):
    folder = tmp_path / "archive"
    shutil.copytree(archive, folder)
    broken = sorted((folder / "images").iterdir())[3]
    broken.write_bytes(broken.read_bytes()[:200])
    config = tiny(folder, tmp_path / "cls", focus="full", epochs=1)
    with pytest.raises(LesionError, match=f"(?s)1 of {COUNT} images.*{broken.name}"):
        train(config)
    train(replace(config, max_failed=1))
    assert "1 of 48 images are left out" in caplog.text
    assert len(pd.read_csv(config.out / "split.csv")) == COUNT - 1


def test_changed_masks_stop_a_run_that_goes_on(archive, manifest, two_folds, tmp_path):
    from lesioncore.cache import MaskCache
    from lesioncore.cache.edits import add_edit

    out, folder = tmp_path / "cls", write_cache(tmp_path / "cache", manifest)
    shutil.copytree(two_folds.out, out)
    record = read_json(out / "run.json")
    record["config"]["masks"] = str(folder)
    (out / "run.json").write_text(json.dumps(record | {"complete": False}))
    name = manifest["image_id"].iloc[0]
    add_edit(folder, name, np.ones(MaskCache(folder).row(name).shape, bool), author="a person")
    with pytest.raises(LesionError, match=r"masks changed.*max_revision: 0 -> 1"):
        train(replace(two_folds, out=out, masks=folder))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"focus": "crop+full"}, "twice"),
        ({"margin": -1.0}, "--margin"),
        ({"size": 4}, "--size"),
        ({"negative_ratio": 0.0}, "--negative-ratio"),
        ({"positive_ratio": 0.0}, "--positive-ratio"),
    ],
)
def test_values_that_make_no_sense_are_refused(archive, tmp_path, changes, says):
    with pytest.raises(UsageError, match=says):
        tiny(archive, tmp_path, **changes)


@pytest.mark.slow
def test_kill_9_and_again(archive, masks, tmp_path):
    """A run that is killed in its middle ends as one that was not."""

    def command(out: str) -> list[str]:
        flags = {
            "dataset": "phantom", "root": archive, "out": tmp_path / out / "cls", "masks": masks,
            "encoder": "test_resnet", "encoder_weights": "none", "size": 32, "epochs": 6,
            "batch_size": 16, "workers": 0, "folds": 2, "test_list": "none", "device": "cpu",
        }  # fmt: skip
        program = "import sys; from clsstage.commands import main; sys.exit(main())"
        words = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
        return [sys.executable, "-c", program, "train", *words]

    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command("whole"), check=True, env=environment, capture_output=True)
    killed = subprocess.Popen(command("cut"), env=environment, stderr=subprocess.DEVNULL)
    progress = tmp_path / "cut" / "cls" / "member-1" / "metrics.csv"
    for _ in range(2400):
        if progress.is_file() and progress.read_text().count("\n") >= 3:
            break
        assert killed.poll() is None, "it finished before it could be killed"
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    first = (tmp_path / "cut" / "cls" / "member-0" / "weights.safetensors").read_bytes()
    again = subprocess.run(command("cut"), check=True, env=environment, capture_output=True)
    assert b"member-0 is finished" in again.stderr
    assert b"going on from" in again.stderr
    assert (tmp_path / "cut" / "cls" / "member-0" / "weights.safetensors").read_bytes() == first
    for name in ("member-0", "member-1"):
        whole, cut = ((tmp_path / run / "cls" / name / "weights.safetensors").read_bytes()
                      for run in ("whole", "cut"))  # fmt: skip
        assert whole == cut
    whole, cut = (pd.read_csv(tmp_path / run / "cls" / "oof.csv") for run in ("whole", "cut"))
    assert np.array_equal(whole["malignant"], cut["malignant"])
