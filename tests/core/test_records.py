"""The manifest's schema: what is coerced, what is added, what is refused and how it says so."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lesioncore.errors import LesionError
from lesioncore.records import (
    CORE_COLUMNS,
    check_manifest,
    read_manifest,
    write_manifest,
)


def rows(n: int = 3, **columns: object) -> pd.DataFrame:
    ids = [f"IMG_{i}" for i in range(n)]
    return pd.DataFrame({"image_id": ids, "image": [f"/data/{i}.jpg" for i in ids], **columns})


def test_optional_columns_are_added_as_null_in_the_documented_order():
    manifest = check_manifest(rows())
    assert tuple(manifest.columns) == CORE_COLUMNS
    assert manifest["patient_id"].isna().all()
    assert manifest["target"].dtype == np.float64
    assert manifest["age"].isna().all()


def test_own_columns_follow_numbers_then_text_then_leaks():
    manifest = check_manifest(
        rows(iddx_full="Benign", tbp_lv_location="Torso", tbp_lv_A=1.5, mel_thick_mm=0.4)
    )
    assert list(manifest.columns[len(CORE_COLUMNS) :]) == [
        "tbp_lv_A",
        "tbp_lv_location",
        "iddx_full",
        "mel_thick_mm",
    ]


def test_ids_read_as_numbers_become_text_and_gaps_stay_null():
    manifest = check_manifest(rows(patient_id=[12.0, None, 7.0], lesion_id=["", " L1 ", None]))
    assert manifest["patient_id"].tolist()[0] == "12"
    assert manifest["patient_id"].isna().tolist() == [False, True, False]
    assert manifest["lesion_id"].isna().tolist() == [True, False, True]
    assert manifest["lesion_id"][1] == "L1"


def test_numbers_written_as_text_are_read():
    manifest = check_manifest(rows(age=["61", None, "5.5"], target=[1, 0, None]))
    assert manifest["age"].tolist()[0] == 61.0
    assert np.isnan(manifest["target"][2])


def test_an_empty_manifest_is_refused():
    with pytest.raises(LesionError, match="the manifest is empty"):
        check_manifest(rows(0), "ham.csv")


def test_a_missing_column_names_the_file_and_its_columns():
    with pytest.raises(LesionError, match=r"t\.csv: no column 'image'; it has: image_id, age"):
        check_manifest(pd.DataFrame({"image_id": ["a"], "age": [3]}), "t.csv")


def test_repeated_ids_are_refused_by_name():
    frame = rows()
    frame["image_id"] = ["a", "b", "a"]
    with pytest.raises(LesionError, match="1 image_ids occur more than once: a"):
        check_manifest(frame)


def test_a_missing_id_is_refused():
    frame = rows()
    frame["image_id"] = ["a", None, "b"]
    with pytest.raises(LesionError, match="1 rows have no image_id, first row 2"):
        check_manifest(frame)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("age", -1, "age: 1 values fail in_range"),
        ("age", "old", "age: 1 values are not numbers, first 'old' in row 2"),
        ("target", 2, "target: 1 values fail isin"),
        ("sex", "F", "sex: 1 values fail isin"),
        ("site", "knee", "site: 1 values fail isin"),
        ("diagnosis", "mel", "diagnosis: 1 values fail isin"),
        ("modality", "xray", "modality: 1 values fail isin"),
        ("diameter_mm", -3, "diameter_mm: 1 values fail in_range"),
    ],
)
def test_a_value_outside_the_vocabulary_names_column_and_row(column, value, said):
    with pytest.raises(LesionError) as caught:
        check_manifest(rows(**{column: [None, value, None]}))
    assert said in str(caught.value)
    assert "row 2" in str(caught.value)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_written_manifest_comes_back_equal(tmp_path, suffix):
    manifest = check_manifest(
        rows(
            patient_id=["0012", "0013", None],
            target=[1, 0, None],
            sex=["male", None, "female"],
            age=[50.0, None, 61.0],
            tbp_lv_A=[1.0, 2.0, 3.0],
        )
    )
    write_manifest(tmp_path / f"m{suffix}", manifest)
    pd.testing.assert_frame_equal(read_manifest(tmp_path / f"m{suffix}"), manifest)
