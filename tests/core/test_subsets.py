"""Subsets: the list an archive keeps back, and what a run did with its images."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from lesioncore.errors import LesionError, UsageError
from lesioncore.splits import write_split
from lesioncore.subsets import choose_subset, split_ids

IDS = [f"i{number}" for number in range(8)]


def split(members: int) -> pd.DataFrame:
    """Two images kept back, two in each of three folds (or one, and five to learn from)."""
    folds = [-1, -1, 0, 0, 1, 1, 2, 2] if members == 3 else [-1, -1, 0, 1, 1, 1, 1, 1]
    roles = ["test", "test"] + ["train"] * 6
    return pd.DataFrame(
        {"image_id": IDS, "group": IDS, "fold": folds, "role": roles, "members": members}
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run of one member on `folder`, as far as a subset looks at it."""
    write_split(tmp_path / "split.csv", split(1))
    (tmp_path / "run.json").write_text(json.dumps({"config": {"dataset": "folder"}}))
    return tmp_path


@pytest.fixture
def manifest() -> pd.DataFrame:
    return pd.DataFrame({"image_id": IDS, "patient_id": None, "lesion_id": None})


def test_of_a_single_split_one_part_validates_and_the_other_learns() -> None:
    assert split_ids(split(1), "validation") == {"i2"}
    assert split_ids(split(1), "train") == set(IDS[3:])


def test_of_folds_every_training_image_is_both() -> None:
    assert split_ids(split(3), "validation") == split_ids(split(3), "train") == set(IDS[2:])


def test_the_test_subset_is_what_the_run_kept_back_of_its_own_archive(run, manifest) -> None:
    ids = choose_subset(manifest, "test", dataset="folder", weights=run)["image_id"].tolist()
    assert ids == ["i0", "i1"]
    with pytest.raises(LesionError, match="kept back none of these 6 images"):
        choose_subset(manifest.iloc[2:], "test", dataset="folder", weights=run)


def test_a_list_that_is_named_wins_over_the_run(run, manifest, tmp_path) -> None:
    named = tmp_path / "list.txt"
    named.write_text("i5\n")
    chosen = choose_subset(manifest, "test", dataset="folder", test_list=str(named), weights=run)
    assert chosen["image_id"].tolist() == ["i5"]


def test_another_archive_has_its_own_list(run, manifest) -> None:
    with pytest.raises(LesionError, match="test list holds none"):
        choose_subset(manifest, "test", dataset="isic2024", weights=run)


def test_what_a_run_did_needs_the_run(manifest, tmp_path) -> None:
    with pytest.raises(UsageError, match="no run folder"):
        choose_subset(manifest, "validation", dataset="folder", weights=tmp_path / "w")
    assert len(choose_subset(manifest, "all", dataset="folder")) == len(IDS)


def test_what_a_run_did_not_score_is_no_validation_image(tmp_path, manifest) -> None:
    """Such as the images that the weights it started from had learned from."""
    write_split(tmp_path / "split.csv", split(3))
    pd.DataFrame({"image_id": IDS[4:]}).to_csv(tmp_path / "oof.csv", index=False)
    chosen = choose_subset(manifest, "validation", dataset="folder", weights=tmp_path)
    assert chosen["image_id"].tolist() == IDS[4:]
