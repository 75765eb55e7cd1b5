"""The readers on real archives, as far as they are there."""

from __future__ import annotations

import pytest

from lesioncore.diagnoses import labels
from lesioncore.images import read_image, read_mask
from lesioncore.leaks import model_columns
from lesioncore.readers import create_reader

pytestmark = pytest.mark.real_data


def counts(frame, column="diagnosis"):
    return frame[column].value_counts().to_dict()


def test_ham10000(real_data):
    rows = create_reader("ham10000", real_data / "ham10000_200x150").read()
    assert len(rows) == 5022 and rows["mask"].notna().all()
    assert rows["lesion_id"].nunique() == 3598
    assert counts(rows) == {
        "nevus": 2700,
        "melanoma": 779,
        "benign keratosis": 768,
        "basal cell carcinoma": 364,
        "actinic keratosis or intraepithelial carcinoma": 229,
        "vascular lesion": 101,
        "dermatofibroma": 81,
    }
    assert labels(rows, "cancer+ak").sum() == 779 + 364 + 229
    first = rows.iloc[0]
    assert read_mask(first["mask"], read_image(first["image"]).shape[:2]).any()


def test_isic_task1(real_data):
    rows = create_reader("isic-task1", real_data / "isic2018_task1_512").read()
    assert len(rows) == 2065 and rows["mask"].notna().all()
    assert counts(rows) == {"nevus": 1494, "melanoma": 411, "benign keratosis": 160}
    assert rows["site"].isna().sum() == 505
    assert rows["lesion_id"].isna().sum() == 1486
    assert rows["age"].isna().sum() <= 248 and rows["sex"].isna().sum() <= 224


def test_isic2017(real_data):
    rows = create_reader("isic2017", real_data / "isic2017_validation_fullsize").read()
    assert len(rows) == 13 and rows["target"].sum() == 0
    assert counts(rows) == {"benign keratosis": 11, "nevus": 2}
    first = rows.iloc[0]
    assert read_mask(first["mask"], read_image(first["image"]).shape[:2]).any()


def test_isic2024(real_data):
    root = real_data / "isic2024_slice3d_sample"
    table = create_reader("isic2024", root, split="train", require_images=False).read()
    assert {"ISIC_0082829", "ISIC_0051822"} <= set(table["image_id"])
    # Where the archive says malignant, so does its diagnosis, row by row.
    known = table["target"].notna()
    assert (labels(table, "cancer")[known] == table["target"][known]).all()
    assert len(model_columns(table)) == 32
    tiles = create_reader("isic2024", root, split="train").read()
    assert len(tiles) == 5 and tiles["target"].sum() == 3
    test = create_reader("isic2024", root).read()
    assert test["image_id"].tolist() == ["ISIC_0015657", "ISIC_0015729", "ISIC_0015740"]
    assert all(read_image(image).ndim == 3 for image in test["image"])


@pytest.mark.parametrize(
    ("name", "folder", "n", "malignant", "policy"),
    [
        ("isic2019", "isic2019", 21804, 4079 + 3173 + 571, "cancer"),
        ("isic2020", "isic2020", 23119, 421, "target"),
        ("pad-ufes-20", "pad_ufes_20", 1624, 606 + 139 + 34, "cancer"),
        ("milk10k", "milk10k", 7336, 3482 + 894 + 626 + 10, "cancer"),
    ],
)
def test_tables_without_images(real_data, name, folder, n, malignant, policy, caplog):
    root = real_data / "metadata_only" / folder
    rows = create_reader(name, root, require_images=False).read()
    assert len(rows) == n and rows["image"].isna().all()
    assert (labels(rows, policy) == 1).sum() == malignant
    assert "are not in the table" not in caplog.text
    assert "unknown words" not in caplog.text


def test_an_image_in_two_archives_has_one_diagnosis(real_data):
    task1 = create_reader("isic-task1", real_data / "isic2018_task1_512").read()
    ham = create_reader("ham10000", real_data / "ham10000_200x150").read()
    later = create_reader("isic2019", real_data / "metadata_only/isic2019", require_images=False)
    later = later.read().set_index("image_id")["diagnosis"]
    for rows in (task1, ham):
        both = rows[rows["image_id"].isin(later.index)]
        fine = both[both["diagnosis"] != "actinic keratosis or intraepithelial carcinoma"]
        assert len(both) > 2000
        assert (fine["diagnosis"].to_numpy() == later[fine["image_id"]].to_numpy()).all()
        mixed = later[both["image_id"][~both["image_id"].isin(fine["image_id"])]]
        assert set(mixed) <= {"actinic keratosis", "squamous cell carcinoma"}
