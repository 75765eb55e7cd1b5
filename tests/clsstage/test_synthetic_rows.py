"""Synthetic lesions are learned from with their own masks, and never judge."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

from clsstage.examples import Examples
from clsstage.members import read_member
from clsstage.sampling import ClassSampling
from clsstage.synthetic_rows import with_synthetic
from clsstage.train import train
from lesioncore.synthetic import MANIFEST, RECORD

from .conftest import tiny


@pytest.fixture
def synthetic(manifest, tmp_path):
    """A folder of six synthetic images, every other one with a parent that nobody trains on."""
    home = tmp_path / "synthetic"
    home.mkdir()
    ids = manifest["image_id"].tolist()
    rows = []
    for number in range(6):
        image = np.full((64, 64, 3), 180, np.uint8)
        mask = np.zeros((64, 64), np.uint8)
        cv2.circle(image, (32, 32), 12, (60, 80, 120), -1)
        cv2.circle(mask, (32, 32), 12, 255, -1)
        cv2.imwrite(str(home / f"S{number}.png"), image)
        cv2.imwrite(str(home / f"S{number}_segmentation.png"), mask)
        donor = ids[number] if number % 2 else "ELSEWHERE"
        rows.append(
            {
                "image_id": f"S{number}",
                "image": f"S{number}.png",
                "mask": f"S{number}_segmentation.png",
                "target": 1,
                "diagnosis": "melanoma",
                "synthetic": "transplant",
                "parent_donor": donor,
                "parent_recipient": ids[10],
                "learned_from": None,
            }
        )
    pd.DataFrame(rows).to_csv(home / MANIFEST, index=False)
    (home / RECORD).write_text(json.dumps({"complete": True}))
    return home


def test_only_images_of_our_own_parents_join_the_rows(manifest, synthetic):
    labels = manifest["target"].to_numpy(float)
    joined, masks = with_synthetic(Examples(manifest, labels, "target"), [synthetic])
    assert set(masks) == {"S1", "S3", "S5"}
    assert len(joined) == len(manifest) + 3
    assert joined.labels[-3:].tolist() == [1, 1, 1]
    few = Examples(manifest, labels, "target").where(np.arange(len(manifest)) != 10)
    assert with_synthetic(few, [synthetic])[1] == {}


def test_nothing_is_missing_of_a_synthetic_row_alone(manifest, synthetic):
    """Missing metadata must not mean synthetic, and so malignant."""
    ids = manifest["image_id"].tolist()
    labels = np.zeros(len(manifest))
    labels[[1, 3, 7]] = 1
    joined, _ = with_synthetic(Examples(manifest, labels, "target"), [synthetic])
    drawn = joined.manifest.set_index("image_id").loc[["S1", "S3", "S5"]]
    real = manifest.set_index("image_id")
    assert drawn["age"].notna().all()
    assert drawn.loc["S1", "tbp_lv_areaMM2"] == real.loc[ids[1], "tbp_lv_areaMM2"]
    assert drawn.loc["S5", "diameter_mm"] in set(real["diameter_mm"].iloc[[1, 3, 7]])
    assert not drawn["patient_id"].isin(real["patient_id"]).any()


def test_folders_that_use_the_same_names_keep_their_own_masks(manifest, synthetic, tmp_path):
    """Each fold's folder numbers its images from 0."""
    other = tmp_path / "other"
    shutil.copytree(synthetic, other)
    labels = manifest["target"].to_numpy(float)
    joined, masks = with_synthetic(Examples(manifest, labels, "target"), [synthetic, other])
    drawn = joined.manifest.iloc[len(manifest) :]
    assert drawn["image_id"].is_unique
    assert drawn["image_id"].map(masks).tolist() == drawn["mask"].tolist()
    assert [str(other) in path for path in drawn["mask"]] == [False] * 3 + [True] * 3


def test_under_a_narrow_policy_benign_donors_fill_benign_synthetic_rows(manifest, synthetic):
    table = pd.read_csv(synthetic / MANIFEST).assign(diagnosis="basal cell carcinoma")
    table.to_csv(synthetic / MANIFEST, index=False)
    labels = np.zeros(len(manifest))
    labels[20] = 1
    joined, _ = with_synthetic(Examples(manifest, labels, "melanoma"), [synthetic])
    drawn = joined.manifest.set_index("image_id")
    assert joined.labels[-3:].tolist() == [0, 0, 0]
    donor = manifest.set_index("image_id").loc[table["parent_donor"].iloc[1]]
    assert drawn.loc["S1", "tbp_lv_areaMM2"] == donor["tbp_lv_areaMM2"]


def test_a_token_of_the_archive_does_not_tell_synthetic_rows(manifest, synthetic):
    labels = manifest["target"].to_numpy(float)
    joined, _ = with_synthetic(Examples(manifest, labels, "target"), [synthetic])
    assert set(joined.manifest["source"]) == set(manifest["source"])


def test_probabilities_still_speak_of_the_real_prevalence():
    real = np.array([0.0] * 90 + [1.0] * 10)
    with_more = np.append(real, np.ones(10))
    offset = ClassSampling().prior_offset(with_more, real)
    assert offset == pytest.approx(np.log(10 / 90) - np.log(20 / 90))


def test_a_training_uses_them_and_validates_on_real_images_only(
    archive, masks, synthetic, tmp_path
):
    config = tiny(archive, tmp_path / "cls", masks=masks, synthetic=[synthetic], val_fraction=0.1)
    train(config)
    member = read_member(config.out / "member-0")
    assert "synthetic ones" in member.card.training_data
    held_out = pd.read_csv(config.out / "oof.csv")["image_id"]
    split = pd.read_csv(config.out / "split.csv")["image_id"]
    assert not held_out.str.startswith("S").any()
    assert not split.str.startswith("S").any()
    assert member.offset[0] < 0


def test_a_run_refuses_to_go_on_with_other_synthetic_images(archive, masks, synthetic, tmp_path):
    from lesioncore.errors import LesionError

    config = tiny(archive, tmp_path / "cls", masks=masks, synthetic=[synthetic], val_fraction=0.1)
    train(config)
    run = tmp_path / "cls" / "run.json"
    record = json.loads(run.read_text())
    run.write_text(json.dumps(record | {"complete": False}))
    table = pd.read_csv(synthetic / MANIFEST)
    table.iloc[:3].to_csv(synthetic / MANIFEST, index=False)
    with pytest.raises(LesionError, match="changed since this run began"):
        train(config)
