"""What all readers share: names, options, missing files, limits."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

from lesioncore.config import DataOptions
from lesioncore.errors import LesionError, UsageError
from lesioncore.readers import (
    create_reader,
    default_policy,
    load_manifest,
    reader_names,
    test_list,
)
from lesioncore.readers.tables import fill_from, standardise, truth_values
from tests.core.archives import put_images, put_masks, put_text

NAMES = {
    "isic2024", "isic-task1", "isic2017", "isic2018", "isic2019", "isic2020", "ham10000", "ph2",
    "pad-ufes-20", "milk10k", "folder", "csv", "phantom",
}  # fmt: skip


def ham(root, n=6, missing=()):
    ids = [f"ISIC_{i:07d}" for i in range(n)]
    rows = "\n".join(f"HAM_{i // 2},{x},nv,histo,{40 + i}.0,male,back" for i, x in enumerate(ids))
    put_text(
        root / "HAM10000_metadata.csv",
        "lesion_id,image_id,dx,dx_type,age,sex,localization\n" + rows,
    )
    put_images(root / "HAM10000_images", [x for x in ids if x not in missing])
    put_masks(root / "HAM10000_segmentations_lesion_tschandl", ids)
    return ids


def test_all_readers_of_the_design_are_there():
    assert set(reader_names()) == NAMES


def test_listing_the_names_imports_nothing_heavy():
    code = (
        "import sys; from lesioncore.readers import reader_names, default_policy; reader_names();"
        "default_policy('ham10000'); bad = {'pandas', 'torch', 'numpy', 'cv2'} & {*sys.modules};"
        "sys.exit(f'imported {bad}' if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_unknown_reader_lists_the_known_and_guesses():
    with pytest.raises(UsageError) as caught:
        create_reader("ham1000", "x")
    assert "unknown dataset 'ham1000'" in str(caught.value)
    assert "did you mean 'ham10000'?" in str(caught.value)
    assert "milk10k" in str(caught.value)
    assert caught.value.exit_code == 2


def test_an_option_that_a_reader_lacks_is_refused():
    with pytest.raises(UsageError, match="ham10000 has no option 'columns'"):
        create_reader("ham10000", "x", columns={})
    with pytest.raises(UsageError, match="unknown split of isic2024 'dev'"):
        create_reader("isic2024", "x", split="dev")


@pytest.mark.parametrize("name", sorted(NAMES - {"phantom"}))
def test_a_missing_root_says_what_was_wanted(name, tmp_path):
    with pytest.raises(LesionError, match=f"{name}: no such folder") as caught:
        create_reader(name, tmp_path / "nowhere").read()
    assert "wanted:" in str(caught.value) and "--root" in str(caught.value)
    with pytest.raises(UsageError, match="no root folder given"):
        create_reader(name, None)


@pytest.mark.parametrize("name", sorted(NAMES - {"phantom"}))
def test_a_folder_that_holds_something_else_says_so(name, tmp_path):
    put_text(tmp_path / "notes.txt", "nothing here")
    with pytest.raises(LesionError, match=r"it holds: notes\.txt"):
        create_reader(name, tmp_path).read()


def test_policies_and_test_lists_have_defaults():
    assert default_policy("ham10000") == "cancer+ak"
    assert default_policy("isic2024") == "target"
    assert default_policy("isic2017") == "melanoma"
    assert test_list("isic-task1") == test_list("isic2017") == "isic2018_task1"
    assert test_list("folder") is None


def test_rows_without_an_image_are_dropped_with_a_count(tmp_path, caplog):
    ids = ham(tmp_path, missing=["ISIC_0000002"])
    manifest = create_reader("ham10000", tmp_path).read()
    assert manifest["image_id"].tolist() == [x for x in ids if x != "ISIC_0000002"]
    assert "1 of 6 rows have no image on disk" in caplog.text
    assert "ISIC_0000002" in caplog.text


def test_when_no_image_is_left_it_is_an_error(tmp_path):
    ids = ham(tmp_path, missing=[f"ISIC_{i:07d}" for i in range(6)])
    with pytest.raises(LesionError, match="none of the 6 images of the table is in"):
        create_reader("ham10000", tmp_path).read()
    manifest = create_reader("ham10000", tmp_path, require_images=False).read()
    assert manifest["image_id"].tolist() == ids
    assert manifest["image"].isna().all()


def test_a_table_with_no_rows_is_an_empty_manifest(tmp_path):
    ham(tmp_path, n=0)
    with pytest.raises(LesionError, match="empty"):
        create_reader("ham10000", tmp_path).read()


def test_a_missing_column_names_the_file_and_what_it_has(tmp_path):
    ham(tmp_path)
    put_text(tmp_path / "HAM10000_metadata.csv", "image_id,dx\nISIC_0000000,nv")
    with pytest.raises(LesionError, match=r"no column 'lesion_id'; it has: image_id, dx"):
        create_reader("ham10000", tmp_path).read()


def test_images_without_a_row_keep_their_mask_and_have_no_labels(tmp_path, caplog):
    ham(tmp_path)
    put_images(tmp_path / "HAM10000_images", ["ISIC_9999999"])
    last = create_reader("ham10000", tmp_path).read().iloc[-1]
    assert last["image_id"] == "ISIC_9999999"
    assert pd.isna(last["diagnosis"]) and last["modality"] == "dermoscopy"
    assert "1 images are in no table" in caplog.text


def test_limit_takes_rows_evenly_over_the_table(tmp_path):
    ids = ham(tmp_path)
    options = DataOptions(dataset="ham10000", root=tmp_path, limit=3)
    assert load_manifest(options)["image_id"].tolist() == [ids[0], ids[2], ids[4]]
    assert len(load_manifest(DataOptions(dataset="ham10000", root=tmp_path, limit=99))) == 6
    with pytest.raises(UsageError, match="--limit 0"):
        load_manifest(DataOptions(dataset="ham10000", root=tmp_path, limit=0))


def test_columns_are_refused_where_they_mean_nothing(tmp_path):
    with pytest.raises(UsageError, match="no option 'columns'"):
        load_manifest(DataOptions(dataset="ham10000", root=tmp_path, columns={"target": "x"}))


def test_unknown_words_become_null_and_are_logged(caplog):
    table = pd.DataFrame(
        {
            "image_id": ["a", "b"],
            "dx": ["nv", "zebra"],
            "sex": ["?", "robot"],
            "region": ["Moon", ""],
        }
    )
    records = standardise(table, "csv", "t.csv")
    assert records["diagnosis"].isna().tolist() == [False, True]
    assert records["diagnosis_raw"].tolist() == ["nv", "zebra"]
    assert "t.csv: 1 diagnoses are not in the table and become unknown: zebra" in caplog.text
    assert "unknown words for sex become null: robot" in caplog.text
    assert "unknown words for site become null: Moon" in caplog.text


def test_truth_values_become_numbers():
    assert truth_values(pd.Series(["True", "False", "UNK", None])).tolist()[:2] == [1.0, 0.0]
    assert truth_values(pd.Series([True, False])).tolist() == [1.0, 0.0]
    mixed = truth_values(pd.Series([True, None, False], dtype=object))
    assert mixed.tolist()[0] == 1.0 and mixed.isna().tolist() == [False, True, False]
    assert truth_values(pd.Series(["ITALY", None])).tolist()[0] == "ITALY"


def test_filling_keeps_what_is_there_and_adds_no_rows():
    left = pd.DataFrame({"image_id": ["a", "b"], "age": [1.0, None]})
    right = pd.DataFrame(
        {"image_id": ["b", "a", "c"], "age": [5.0, 9.0, 7.0], "sex": ["f", "m", "m"]}
    )
    filled = fill_from(left, right)
    assert filled["age"].tolist() == [1.0, 5.0]
    assert filled["sex"].tolist() == ["m", "f"]
