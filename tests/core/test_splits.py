"""Splits are grouped, stratified, repeatable, and refused when they leak."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesioncore.errors import LesionError
from lesioncore.splits import (
    assign_groups,
    check_split,
    make_split,
    member_count,
    member_ids,
    read_split,
    write_split,
)


def manifest(rows=300, patients=60, seed=0):
    generator = np.random.default_rng(seed)
    patient = generator.integers(0, patients, rows)
    return pd.DataFrame(
        {
            "image_id": [f"ISIC_{i:07d}" for i in range(rows)],
            "patient_id": [f"IP_{p}" if p % 4 else None for p in patient],
            "lesion_id": [f"IL_{p}_{generator.integers(0, 3)}" for p in patient],
            "target": (generator.random(rows) < 0.25).astype(float),
        }
    )


def test_groups_join_patients_lesions_and_duplicates_in_chains():
    frame = pd.DataFrame(
        {
            "image_id": list("abcdefgh"),
            "patient_id": ["P1", "P1", None, None, "P2", None, "", np.nan],
            "lesion_id": [None, "L1", "L1", "L2", "L2", None, "", np.nan],
        }
    )
    groups = assign_groups(frame, [("f", "h"), ("f", "not here")])
    assert groups["a"] == groups["b"] == groups["c"] == "patient:P1"
    assert groups["d"] == groups["e"] == "patient:P2"
    assert groups["f"] == groups["h"] == "image:f"
    assert groups["g"] == "image:g"
    assert assign_groups(frame, [("c", "d")]).iloc[:5].nunique() == 1


def test_group_names_do_not_depend_on_row_order_or_other_columns():
    frame = manifest()
    groups = assign_groups(frame)
    shuffled = assign_groups(frame.sample(frac=1, random_state=1))
    assert (shuffled.reindex(groups.index) == groups).all()
    only_lesions = assign_groups(frame[["image_id", "lesion_id"]])
    assert only_lesions.str.startswith("lesion:").all()
    numbers = frame.assign(lesion_id=np.arange(300) // 2, patient_id=None)
    assert assign_groups(numbers).nunique() == 150


@pytest.mark.parametrize("folds", [1, 2, 5])
def test_parts_are_disjoint_by_group_and_alike(folds):
    frame = manifest(1200, 300)
    split = make_split(frame, folds=folds, seed=3, labels=frame["target"])
    check_split(split, frame)
    assert split["image_id"].tolist() == frame["image_id"].tolist()
    assert (split.groupby("group")["fold"].nunique() == 1).all()
    assert member_count(split) == folds
    shares = [0.2, 0.8] if folds == 1 else [1 / folds] * folds
    for fold, share in enumerate(shares):
        rows = (split["fold"] == fold).to_numpy()
        assert rows.mean() == pytest.approx(share, abs=0.03)
        assert frame["target"][rows].mean() == pytest.approx(frame["target"].mean(), abs=0.03)
    validated = []
    for member in range(folds):
        train, val = member_ids(split, member)
        assert not set(train) & set(val)
        assert len(train) + len(val) == 1200
        validated += val
    if folds > 1:
        assert sorted(validated) == sorted(frame["image_id"])
    with pytest.raises(LesionError, match="no member"):
        member_ids(split, folds)


def test_the_same_call_gives_the_same_split_and_a_seed_another():
    frame = manifest()
    one = make_split(frame, folds=3, seed=1)
    pd.testing.assert_frame_equal(one, make_split(frame, folds=3, seed=1))
    assert (one["fold"] != make_split(frame, folds=3, seed=2)["fold"]).any()


def test_test_images_are_kept_back_and_the_rest_of_their_groups_excluded():
    frame = manifest()
    groups = assign_groups(frame)
    chosen = groups.index[:5].tolist()
    split = make_split(frame, folds=1, seed=0, test_ids=chosen).set_index("image_id")
    assert set(split.index[split["role"] == "test"]) == set(chosen)
    siblings = groups.index[groups.isin(groups[chosen])].difference(chosen)
    assert len(siblings)
    assert (split.loc[siblings, "role"] == "excluded").all()
    assert (split.loc[split["role"] != "train", "fold"] == -1).all()
    train, val = member_ids(split.reset_index(), 0)
    assert not (set(chosen) | set(siblings)) & (set(train) | set(val))
    check_split(split.reset_index(), frame)


def test_rare_classes_reach_every_part_even_with_one_huge_patient():
    frame = manifest(200, 40).assign(target=0.0)
    frame.loc[frame["patient_id"] == "IP_1", "target"] = 1.0
    frame.loc[frame["patient_id"] == "IP_2", "target"] = 1.0
    frame.loc[frame.index[frame["patient_id"].isna()][:90], "patient_id"] = "IP_3"
    split = make_split(frame, folds=1, seed=0, labels=frame["target"])
    for fold in (0, 1):
        assert frame["target"][(split["fold"] == fold).to_numpy()].sum() > 0
    assert 0.1 < (split["fold"] == 0).mean() < 0.35


def test_too_few_groups_say_so():
    frame = manifest(30, 4)
    with pytest.raises(LesionError, match=r"groups .* for 10 parts"):
        make_split(frame, folds=10, seed=0)
    rare = manifest(100, 50).assign(target=0.0)
    rare.loc[0, "target"] = 1.0
    with pytest.raises(LesionError, match=r"class 1 has 1 groups .* 1 images .* 3 parts"):
        make_split(rare, folds=3, seed=0, labels=rare["target"])
    make_split(rare, folds=3, seed=0)  # without labels of its own the caller does not need both
    with pytest.raises(LesionError, match="0 groups"):
        make_split(rare, folds=1, seed=0, test_ids=rare["image_id"])
    with pytest.raises(LesionError, match="0 folds"):
        make_split(rare, folds=0, seed=0)
    with pytest.raises(LesionError, match="val_fraction"):
        make_split(rare, folds=1, seed=0, val_fraction=0)
    with pytest.raises(LesionError, match="2 labels for 100 images"):
        make_split(rare, folds=1, seed=0, labels=[0, 1])


def test_unknown_labels_are_a_class_of_their_own():
    frame = manifest(400, 200)
    frame.loc[:199, "target"] = np.nan
    split = make_split(frame, folds=4, seed=0, labels=frame["target"])
    for fold in range(4):
        rows = (split["fold"] == fold).to_numpy()
        assert frame["target"][rows].isna().mean() == pytest.approx(0.5, abs=0.08)
    make_split(frame.drop(columns="target"), folds=4, seed=0)


def test_a_split_survives_its_file(tmp_path: Path):
    frame = manifest().assign(image_id=[f"{i:04d}" for i in range(300)])  # zeros in front
    for folds in (1, 2):
        split = make_split(frame, folds=folds, seed=0, test_ids=["0003"])
        for name in ("split.csv", "split.parquet"):
            write_split(tmp_path / name, split)
            again = read_split(tmp_path / name)
            assert member_count(again) == folds
            assert again.astype(str).equals(split.astype(str))
            check_split(again, frame)
    split.drop(columns="members").to_csv(tmp_path / "own.csv", index=False)
    assert member_count(read_split(tmp_path / "own.csv")) == 2


def broken(split, **changes):
    copy = split.copy()
    for column, (row, value) in changes.items():
        copy.loc[row, column] = value
    return copy


def test_leaks_are_refused_by_name():
    frame = manifest()
    split = make_split(frame, folds=3, seed=0)
    sizes = split["group"].value_counts()
    torn = split.index[split["group"] == sizes.index[0]][0]
    other = (split.loc[torn, "fold"] + 1) % 3
    with pytest.raises(LesionError, match=r"1 groups lie on both sides.*in fold . and fold .") as e:
        check_split(broken(split, fold=(torn, other)), frame)
    assert sizes.index[0] in str(e.value)
    hidden = broken(split, fold=(torn, other), group=(torn, "image:alone"))
    with pytest.raises(LesionError, match="both sides"):  # the manifest knows better than the file
        check_split(hidden, frame)
    kept = broken(split, fold=(torn, -1), role=(torn, "test"))
    with pytest.raises(LesionError, match="the test list"):
        check_split(kept, frame)
    a, b = (split["image_id"][split["fold"] == fold].iloc[0] for fold in (0, 1))
    with pytest.raises(LesionError, match="both sides"):
        check_split(split, frame, duplicates=[(a, b)])


def test_a_split_of_other_images_is_refused():
    frame = manifest()
    split = make_split(frame, folds=3, seed=0)
    with pytest.raises(LesionError, match="1 images of the manifest are not in the split"):
        check_split(split.iloc[1:], frame)
    with pytest.raises(LesionError, match="10 images of the split are not in the manifest"):
        check_split(split, frame.iloc[10:])
    with pytest.raises(LesionError, match="no column fold"):
        check_split(split.drop(columns="fold"), frame)
    with pytest.raises(LesionError, match="twice"):
        check_split(pd.concat([split, split.iloc[:1]]), frame)
    with pytest.raises(LesionError, match="role 'val'"):
        check_split(broken(split, role=(0, "val")), frame)
    with pytest.raises(LesionError, match=r"folds \[0, 1\]"):
        check_split(split[split["fold"] < 2], frame)
    with pytest.raises(LesionError, match="empty"):
        check_split(split.iloc[:0], frame)


@pytest.mark.real_data
def test_real_archives_split_evenly(real_data: Path):
    table = pd.read_csv(real_data / "ham10000_200x150" / "HAM10000_metadata.csv")
    table["target"] = table["dx"].isin(["mel", "bcc", "akiec"]).astype(float)
    split = make_split(table, folds=5, seed=0, labels=table["target"])
    check_split(split, table)
    by_fold = table["target"].groupby(split["fold"].to_numpy()).agg(["size", "sum"])
    assert (by_fold.max() - by_fold.min() <= 5).all()
