"""The test lists: committed ids, a hash rule without a list, and the same answer every time."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest

from lesioncore import holdout
from lesioncore.errors import LesionError, UsageError
from lesioncore.readers import reader_names
from lesioncore.readers import test_list as list_of
from lesioncore.splits import assign_groups

LISTS = ("isic2018_task1", "ham10000", "isic2019", "isic2020", "isic2024", "pad-ufes-20", "milk10k")


def manifest(ids, **columns):
    return pd.DataFrame({"image_id": list(ids), **columns})


@pytest.mark.parametrize("name", LISTS)
def test_committed_lists_hold_ids_and_nothing_else(name):
    ids = holdout.committed_ids(name)
    assert len(ids) > 200
    assert all("/" not in image_id and " " not in image_id for image_id in ids)
    assert not any(image_id.endswith(("_downsampled", ".png", ".jpg")) for image_id in ids)


def test_every_list_that_a_reader_names_is_committed():
    named = {list_of(name) for name in reader_names()} - {None}
    assert named <= set(LISTS)
    for name in named:
        holdout.committed_ids(name)
    with pytest.raises(LesionError, match="no committed test list"):
        holdout.committed_ids("nonesuch")


def test_a_list_keeps_back_its_ids_alone():
    listed = sorted(holdout.committed_ids("ham10000"))[:3]
    frame = manifest([*listed, "ISIC_9999999"], patient_id=None)
    assert holdout.test_ids(frame, "ham10000") == set(listed)
    assert holdout.test_ids(frame, "ham10000", "none") == set()
    with pytest.raises(UsageError, match="unknown dataset"):
        holdout.test_ids(frame, "ham1000")


def test_nothing_found_is_said(caplog):
    assert holdout.test_ids(manifest(["a", "b"]), "ham10000") == set()
    assert "nothing is kept back" in caplog.text


def test_without_a_list_whole_groups_are_chosen_by_hash():
    frame = manifest((f"p{i}" for i in range(4000)), patient_id=[f"P{i // 4}" for i in range(4000)])
    chosen = holdout.test_ids(frame, "phantom")
    assert 0.12 < len(chosen) / 4000 < 0.18
    groups = assign_groups(frame)
    assert not set(groups[list(chosen)]) & set(groups.drop(list(chosen)))
    part = holdout.test_ids(frame.iloc[:400], "folder")
    assert part == chosen & set(frame["image_id"][:400])  # more data does not change the answer


def test_a_file_of_ids_may_be_given(tmp_path: Path, caplog):
    path = tmp_path / "mine.txt"
    path.write_text("# kept back by hand\na\nb_downsampled\n\nz  # not there\n")
    frame = manifest(["a", "b", "c"])
    assert holdout.test_ids(frame, "csv", str(path)) == {"a", "b"}
    assert "1 of 3 ids are not in the manifest" in caplog.text
    with pytest.raises(LesionError, match="none of the 3 ids"):
        holdout.test_ids(manifest(["q"]), "csv", str(path))
    with pytest.raises(LesionError, match="no such test list"):
        holdout.test_ids(frame, "csv", str(tmp_path / "other.txt"))


def real_ids(data: Path) -> dict[str, pd.DataFrame]:
    tables = data / "metadata_only"
    ham = pd.read_csv(data / "ham10000_200x150" / "HAM10000_metadata.csv")
    task1 = pd.read_csv(data / "isic2018_task1_512" / "ISIC_2019_Training_Metadata.csv")
    all2019 = pd.read_csv(tables / "isic2019" / "ISIC_2019_Training_Metadata.csv")
    all2020 = pd.read_csv(tables / "isic2020" / "ISIC_2020_Training_GroundTruth.csv")
    all2024 = pd.read_csv(data / "isic2024_slice3d_sample" / "train-metadata.csv", low_memory=False)
    found = {
        "ham10000": ham,
        "isic2018_task1": task1.rename(columns={"image": "image_id"}),
        "isic2019": all2019.rename(columns={"image": "image_id"}),
        "isic2020": all2020.rename(columns={"image_name": "image_id"}),
        "isic2024": all2024.rename(columns={"isic_id": "image_id"}),
    }
    return {
        name: table.assign(image_id=table["image_id"].map(holdout.canonical_id))
        for name, table in found.items()
    }


@pytest.mark.real_data
def test_lists_fit_the_real_archives(real_data: Path):
    archives = real_ids(real_data)
    for name, table in archives.items():
        listed = holdout.committed_ids(name)
        if name != "isic2018_task1":  # it also lists images of the ISIC 2017 validation set
            assert listed <= set(table["image_id"])
        kept = table["image_id"].isin(listed)
        assert 0.11 < kept.mean() < 0.17
        columns = [column for column in ("image_id", "patient_id", "lesion_id") if column in table]
        groups = assign_groups(table[columns])
        assert not set(groups[kept.to_numpy()]) & set(groups[~kept.to_numpy()])


@pytest.mark.real_data
def test_an_image_or_lesion_in_two_archives_is_kept_back_in_both(real_data: Path):
    archives = real_ids(real_data)
    shared = 0
    for (one, left), (other, right) in combinations(archives.items(), 2):
        a, b = holdout.committed_ids(one), holdout.committed_ids(other)
        both = set(left["image_id"]) & set(right["image_id"])
        shared += len(both)
        assert a & both == b & both
        if "lesion_id" in left and "lesion_id" in right:
            ours = set(left.loc[left["image_id"].isin(a), "lesion_id"].dropna())
            rest = set(right.loc[~right["image_id"].isin(b), "lesion_id"].dropna())
            assert not ours & rest
        if "patient_id" in left and "patient_id" in right:
            ours = set(left.loc[left["image_id"].isin(a), "patient_id"].dropna())
            assert not ours & set(right.loc[~right["image_id"].isin(b), "patient_id"].dropna())
    assert shared > 2000
