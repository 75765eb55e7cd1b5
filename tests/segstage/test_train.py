"""A run folder: what it holds, how it resumes, what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

import segstage.train
from lesioncore.errors import LesionError
from lesioncore.files import read_json, sha256_file
from lesioncore.images import image_sha256
from segstage.commands import main
from segstage.config import TrainConfig
from segstage.losses import hard_overlap
from segstage.predictor import LesionSegmenter
from segstage.train import train
from tests.segstage.conftest import flags, tiny
from weights.store import load_weights, read_card

#: A device that no machine has beside the one it has.
ABSENT = "mps" if torch.cuda.is_available() else "cuda"


def test_a_run_holds_what_the_design_says(run: TrainConfig, held: Path) -> None:
    files = {str(p.relative_to(run.out)) for p in run.out.rglob("*") if p.is_file()}
    assert files >= {
        "run.json",
        "config.yaml",
        "split.csv",
        "provenance.csv",
        "oof.csv",
        "metrics.json",
        "summary.md",
        "member-0/weights.safetensors",
        "member-0/card.json",
        "member-0/metrics.csv",
        "member-1/weights.safetensors",
    }
    assert not [name for name in files if name.endswith(".ckpt")]
    record = read_json(run.out / "run.json")
    assert (record["complete"], record["members"], record["kind"]) == (True, 2, "segstage")
    split = pd.read_csv(run.out / "split.csv")
    assert set(split.loc[split["role"] == "test", "image_id"]) == set(held.read_text().split())
    scores = read_json(run.out / "metrics.json")
    for name in ("dice", "jaccard", "thresholded_jaccard"):
        assert scores[name]["low"] <= scores[name]["value"] <= scores[name]["high"]
    text = (run.out / "summary.md").read_text()
    assert "synthetic" in text
    assert "never a diagnosis" in text


def test_out_of_fold_scores_cover_each_training_image_once(run: TrainConfig) -> None:
    oof = pd.read_csv(run.out / "oof.csv")
    split = pd.read_csv(run.out / "split.csv").set_index("image_id")
    trained = split[split["role"] == "train"]
    assert sorted(oof["image_id"]) == sorted(trained.index)
    assert (oof["member"].to_numpy() == trained.loc[oof["image_id"], "fold"].to_numpy()).all()


def test_the_record_of_provenance_knows_the_bytes(run: TrainConfig, manifest: pd.DataFrame) -> None:
    kept = pd.read_csv(run.out / "provenance.csv").set_index("image_id")
    for row in manifest.head(5).itertuples():
        assert kept.loc[row.image_id, "image_sha256"] == image_sha256(row.image)
        assert kept.loc[row.image_id, "patient_id"] == row.patient_id


def test_the_card_says_how_to_use_the_weights(run: TrainConfig) -> None:
    card = read_card(run.out / "member-1")
    assert card.preprocessing["size"] == 64
    assert card.architecture["encoder"] == "tu-test_resnet"
    assert card.postprocessing["threshold"] == 0.5
    assert card.sha256 == sha256_file(run.out / "member-1" / "weights.safetensors")
    assert card.first_weights["source"] == "none"
    assert 0 <= card.metrics["validation"]["dice"] <= 1


def test_a_finished_run_is_left_alone(run: TrainConfig, caplog: pytest.LogCaptureFixture) -> None:
    before = (run.out / "member-0" / "weights.safetensors").stat().st_mtime_ns
    assert train(run) == 0
    assert "nothing to do" in caplog.text
    assert (run.out / "member-0" / "weights.safetensors").stat().st_mtime_ns == before


def test_another_config_on_the_same_run_is_refused(
    run: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "--config", str(run.out / "config.yaml"), "--lr", "0.01"]
    assert main(arguments) == 1
    assert "lr" in capsys.readouterr().err


def test_an_interrupted_run_goes_on_where_it_stopped(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert train(tiny(archive, whole, folds=2, test_list="none")) == 0
    config = tiny(archive, cut, folds=2, test_list="none")
    score = segstage.train.score_images

    def killed(*arguments: object, **options: object) -> pd.DataFrame:
        raise KeyboardInterrupt

    fitted: list[Path] = []
    fit = segstage.train.fit
    monkeypatch.setattr(
        segstage.train, "fit", lambda *a, **o: (fitted.append(o["folder"]), fit(*a, **o))
    )
    monkeypatch.setattr(segstage.train, "score_images", killed)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    monkeypatch.setattr(segstage.train, "score_images", score)
    assert train(config) == 0
    # Member 0 was trained before the interruption and is not trained again.
    assert [folder.name for folder in fitted] == ["member-0", "member-1"]
    for number in range(2):
        expected, _ = load_weights(whole / f"member-{number}")
        found, _ = load_weights(cut / f"member-{number}")
        assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_the_same_seed_gives_the_same_weights(archive: Path, tmp_path: Path) -> None:
    config = tiny(archive, tmp_path / "a", limit=16, test_list="none")
    train(config)
    train(tiny(archive, tmp_path / "b", limit=16, test_list="none"))
    one, _ = load_weights(tmp_path / "a" / "member-0")
    two, _ = load_weights(tmp_path / "b" / "member-0")
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_it_learns(archive: Path, tmp_path: Path) -> None:
    config = tiny(
        archive, tmp_path / "run", epochs=12, lr=5e-3, encoder_lr_factor=1.0, augment="none"
    )
    assert train(config) == 0
    rows = pd.read_csv(tmp_path / "run" / "member-0" / "metrics.csv")
    assert rows["train_loss"].iloc[-1] < 0.75 * rows["train_loss"].iloc[0]
    assert rows["val_dice"].max() > 0.5


# What it refuses, before a run folder is made.


def refused(config: TrainConfig, match: str) -> None:
    with pytest.raises(LesionError, match=match):
        train(config)
    assert not config.out.exists()


def test_an_image_without_mask(own_archive: Path, tmp_path: Path) -> None:
    lost = sorted((own_archive / "masks").iterdir())[0]
    lost.unlink()
    refused(tiny(own_archive, tmp_path / "run"), r"1 of 40 images have no mask .*")
    config = tiny(own_archive, tmp_path / "run", max_failed=1, limit=16)
    assert train(config) == 0


def test_an_archive_without_masks(own_archive: Path, tmp_path: Path) -> None:
    for path in (own_archive / "masks").iterdir():
        path.unlink()
    refused(tiny(own_archive, tmp_path / "run"), "none of the 40 images has a mask")


def test_a_mask_of_another_size(own_archive: Path, tmp_path: Path) -> None:
    path = sorted((own_archive / "masks").iterdir())[3]
    cv2.imwrite(str(path), np.zeros((20, 30), np.uint8))
    refused(
        tiny(own_archive, tmp_path / "run"),
        rf"1 of 40 images cannot be used:(?s:.*){re.escape(path.name)} is 30 x 20 pixels",
    )


def test_a_corrupt_image(own_archive: Path, tmp_path: Path) -> None:
    path = sorted((own_archive / "images").iterdir())[3]
    path.write_bytes(path.read_bytes()[:500])
    refused(tiny(own_archive, tmp_path / "run"), rf"cannot be used(?s:.*){re.escape(path.name)}")
    config = tiny(own_archive, tmp_path / "run", max_failed=1)
    assert train(config) == 0
    assert len(pd.read_csv(tmp_path / "run" / "split.csv")) == 39


def test_too_few_groups(archive: Path, tmp_path: Path) -> None:
    refused(tiny(archive, tmp_path / "run", limit=4, folds=5), "groups")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--encoder", "nosuch"], "unknown encoder 'nosuch'"),
        (["--arch", "nosuch"], "unknown segmenter 'nosuch'"),
        (["--size", "100"], "multiple of 32"),
        (["--threshold", "1.5"], "threshold"),
        (["--dataset", "phantoms"], "unknown dataset"),
        (["--device", ABSENT], f"no '{ABSENT}' device"),
    ],
)
def test_a_wrong_call_ends_with_code_2(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str],
    message: str,
) -> None:  # fmt: skip
    config = tiny(archive, tmp_path / "run")
    named = ["train", *flags(config, "dataset", "root", "out", "encoder", "encoder_weights")]
    assert main([*named, *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_duplicates_fall_in_one_group(own_archive: Path, tmp_path: Path) -> None:
    table = pd.read_csv(own_archive / "metadata.csv", dtype=str)
    first, last = table["image_id"].iloc[0], table["image_id"].iloc[-1]
    source = next((own_archive / "images").glob(f"{first}.*"))
    target = next((own_archive / "images").glob(f"{last}.*"))
    target.write_bytes(source.read_bytes())
    train(tiny(own_archive, tmp_path / "run", near_duplicates=False))
    split = pd.read_csv(tmp_path / "run" / "split.csv").set_index("image_id")
    assert split.loc[first, "group"] == split.loc[last, "group"]


# The score that chooses the epoch.


def test_hard_overlap_on_empty_masks() -> None:
    logits = torch.full((2, 1, 4, 4), -5.0)
    truth = torch.zeros(2, 1, 4, 4)
    truth[1] = 1
    dice, jaccard = hard_overlap(logits, truth)
    assert dice.tolist() == jaccard.tolist() == [1.0, 0.0]


def test_a_member_alone_is_a_segmenter_too(run: TrainConfig, manifest: pd.DataFrame) -> None:
    from lesioncore.images import read_image

    member = LesionSegmenter.load(run.out / "member-0", device="cpu")
    both = LesionSegmenter.load(run.out, device="cpu")
    image = read_image(manifest["image"].iloc[0])
    assert member.predict(image).member == "0"
    assert both.predict(image).member == "mean"
    assert member.fingerprint != both.fingerprint
