"""The ISIC archives, each in its official layout."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lesioncore.errors import LesionError
from lesioncore.images import read_image
from lesioncore.leaks import model_columns
from lesioncore.readers import create_reader
from tests.core.archives import put_images, put_masks, put_store, put_text

META_2024 = (
    "isic_id,patient_id,age_approx,sex,anatom_site_general,clin_size_long_diam_mm,"
    "image_type,tbp_lv_A"
)
TILE = "TBP tile: close-up"


def read(name, root, **options):
    return create_reader(name, root, **options).read().set_index("image_id")


@pytest.fixture
def kaggle_2024(tmp_path):
    put_text(
        tmp_path / "train-metadata.csv",
        f"{META_2024},target,iddx_full,mel_thick_mm,lesion_id\n"
        f"ISIC_1,IP_1,60,male,posterior torso,3.4,{TILE},20.0,0,Benign,,\n"
        f"ISIC_2,IP_1,60,male,lower extremity,5.0,{TILE},21.0,1,Malignant::Malignant melanocytic "
        "proliferations (Melanoma)::Melanoma in situ,0.2,IL_7\n"
        f"ISIC_3,IP_2,,,,2.0,{TILE},19.0,0,Benign,,",
    )
    put_store(tmp_path / "train-image.hdf5", ["ISIC_1", "ISIC_2", "ISIC_3"])
    put_text(
        tmp_path / "test-metadata.csv",
        f"{META_2024}\nISIC_8,IP_9,50,female,head/neck,2.2,{TILE},18.0\n"
        f"ISIC_9,IP_9,50,female,head/neck,2.9,{TILE},17.0",
    )
    put_store(tmp_path / "test-image.hdf5", ["ISIC_8", "ISIC_9"])
    put_text(tmp_path / "sample_submission.csv", "isic_id,target\nISIC_9,0.3\nISIC_8,0.3")
    return tmp_path


def test_isic2024_reads_training_tiles_from_hdf5(kaggle_2024):
    rows = read("isic2024", kaggle_2024)  # auto: the training store is there
    assert rows.index.tolist() == ["ISIC_1", "ISIC_2", "ISIC_3"]
    assert rows["target"].tolist() == [0, 1, 0]
    assert rows["diagnosis"].tolist() == ["benign, unspecified", "melanoma", "benign, unspecified"]
    assert rows["modality"].eq("tile").all()
    assert rows.loc["ISIC_1", ["patient_id", "sex", "site", "age", "diameter_mm"]].tolist() == [
        "IP_1",
        "male",
        "posterior torso",
        60.0,
        3.4,
    ]
    assert rows.loc["ISIC_3", ["age", "sex", "site"]].isna().all()
    assert rows.loc["ISIC_2", "image"] == f"{kaggle_2024}/train-image.hdf5::ISIC_2"
    assert read_image(rows.loc["ISIC_2", "image"]).shape == (12, 16, 3)
    assert model_columns(rows) == ["tbp_lv_A"]


def test_isic2024_test_keeps_the_order_of_the_submission(kaggle_2024):
    rows = read("isic2024", kaggle_2024, split="test")
    assert rows.index.tolist() == ["ISIC_9", "ISIC_8"]
    assert rows["target"].isna().all()
    assert rows.loc["ISIC_8", "diameter_mm"] == 2.2


def test_isic2024_without_training_images_reads_the_test_set(kaggle_2024):
    (kaggle_2024 / "train-image.hdf5").unlink()
    put_images(kaggle_2024 / "train-image" / "image", ["ISIC_1"])
    assert read("isic2024", kaggle_2024).index.tolist() == ["ISIC_9", "ISIC_8"]
    assert read("isic2024", kaggle_2024, split="train").index.tolist() == ["ISIC_1"]


def test_isic2024_reads_tiles_from_a_folder_with_a_table_of_their_own(tmp_path):
    put_text(
        tmp_path / "train-image_sample_metadata.csv",
        f"{META_2024},target\nISIC_5,IP_5,40,male,upper extremity,3,{TILE},1.0,1",
    )
    put_images(tmp_path / "train-image" / "image", ["ISIC_5", "ISIC_6"])
    rows = read("isic2024", tmp_path)
    assert rows.index.tolist() == ["ISIC_5"]
    assert rows.loc["ISIC_5", "image"].endswith("train-image/image/ISIC_5.jpg")


@pytest.fixture
def task1(tmp_path):
    ids = ["ISIC_0000000", "ISIC_0000001", "ISIC_0000002"]
    put_images(tmp_path / "ISIC2018_Task1-2_Training_Input", ids)
    put_text(tmp_path / "ISIC2018_Task1-2_Training_Input" / "ATTRIBUTION.txt", "who gave it")
    put_masks(tmp_path / "ISIC2018_Task1_Training_GroundTruth", ids[:2])
    return tmp_path


def test_isic_task1_needs_no_labels(task1, caplog):
    rows = read("isic-task1", task1)
    assert len(rows) == 3 and rows["diagnosis"].isna().all()
    assert rows["mask"].isna().tolist() == [False, False, True]
    assert "1 of 3 images have no mask" in caplog.text


def test_isic_task1_takes_labels_of_2019_first_and_2017_where_they_are_silent(task1):
    put_text(
        task1 / "ISIC_2019_Training_GroundTruth.csv",
        "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n"
        "ISIC_0000000_downsampled,0,1,0,0,0,0,0,0,0\nISIC_0000009,1,0,0,0,0,0,0,0,0",
    )
    put_text(
        task1 / "ISIC_2019_Training_Metadata.csv",
        "image,age_approx,anatom_site_general,lesion_id,sex\n"
        "ISIC_0000000_downsampled,,anterior torso,MSK4_1,female",
    )
    put_text(
        task1 / "ISIC-2017_Training_Part3_GroundTruth.csv",
        "image_id,melanoma,seborrheic_keratosis\nISIC_0000000,0.0,0.0\nISIC_0000001,1.0,0.0",
    )
    put_text(
        task1 / "ISIC-2017_Training_Data_metadata.csv",
        "image_id,age_approximate,sex\nISIC_0000000,55,male\nISIC_0000001,unknown,unknown",
    )
    rows = read("isic-task1", task1)
    assert rows.index.tolist() == ["ISIC_0000000", "ISIC_0000001", "ISIC_0000002"]
    assert rows["diagnosis"].tolist()[:2] == ["nevus", "melanoma"]
    assert pd.isna(rows.loc["ISIC_0000002", "diagnosis"])
    first = rows.loc["ISIC_0000000"]
    assert (first["age"], first["sex"], first["site"]) == (55.0, "female", "anterior torso")
    assert first["lesion_id"] == "MSK4_1"
    assert rows["target"].isna().all()


def test_isic_task1_reads_other_splits(task1):
    put_images(task1 / "ISIC2018_Task1-2_Test_Input", ["ISIC_0012345"])
    assert read("isic-task1", task1, split="test").index.tolist() == ["ISIC_0012345"]
    assert len(read("isic-task1", task1)) == 3
    with pytest.raises(LesionError, match="no ISIC2018_Task1-2_Validation_Input folder"):
        read("isic-task1", task1, split="validation")


@pytest.mark.parametrize("inside", [False, True])
def test_isic2017_reads_masks_and_both_labels(tmp_path, inside):
    data = tmp_path / "ISIC-2017_Training_Data"
    ids = ["ISIC_0000000", "ISIC_0000002", "ISIC_0000004"]
    put_images(data, ids)
    put_masks(data, ids, "_superpixels.png")  # the official zip has these beside the images
    put_masks(tmp_path / "ISIC-2017_Training_Part1_GroundTruth", ids)
    put_text(
        tmp_path / "ISIC-2017_Training_Part3_GroundTruth.csv",
        "image_id,melanoma,seborrheic_keratosis\n"
        "ISIC_0000000,0.0,0.0\nISIC_0000002,1.0,0.0\nISIC_0000004,0.0,1.0",
    )
    put_text(
        (data if inside else tmp_path) / "ISIC-2017_Training_Data_metadata.csv",
        "image_id,age_approximate,sex\nISIC_0000000,55,female\nISIC_0000002,unknown,unknown",
    )
    rows = read("isic2017", tmp_path)
    assert rows.index.tolist() == ids
    assert rows["diagnosis"].tolist() == ["nevus", "melanoma", "benign keratosis"]
    assert rows["target"].tolist() == [0, 1, 0]
    assert rows["mask"].notna().all()
    assert rows["age"].tolist()[0] == 55.0 and np.isnan(rows["age"].iloc[1])
    assert model_columns(rows) == []


def test_isic2017_test_set_is_called_v2(tmp_path):
    put_images(tmp_path / "ISIC-2017_Test_v2_Data", ["ISIC_0012086"])
    put_masks(tmp_path / "ISIC-2017_Test_v2_Part1_GroundTruth", ["ISIC_0012086"])
    rows = read("isic2017", tmp_path)  # auto: it is the only split there
    assert rows["mask"].notna().all() and rows["target"].isna().all()
    with pytest.raises(LesionError, match="no ISIC-2017_Training_Data folder"):
        read("isic2017", tmp_path, split="train")


@pytest.mark.parametrize("nested", [False, True])
def test_isic2018_takes_groups_from_its_table_and_the_rest_from_ham10000(tmp_path, nested):
    ids = ["ISIC_0024306", "ISIC_0024307"]
    put_images(tmp_path / "ISIC2018_Task3_Training_Input", ids)
    folder = tmp_path / "ISIC2018_Task3_Training_GroundTruth" if nested else tmp_path
    put_text(
        folder / "ISIC2018_Task3_Training_GroundTruth.csv",
        "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
        "ISIC_0024306,0.0,1.0,0.0,0.0,0.0,0.0,0.0\nISIC_0024307,0.0,0.0,0.0,1.0,0.0,0.0,0.0",
    )
    put_text(
        folder / "ISIC2018_Task3_Training_LesionGroupings.csv",
        "image,lesion_id,diagnosis_confirm_type\n"
        "ISIC_0024306,HAM_0000550,serial imaging\nISIC_0024307,HAM_0003577,histopathology",
    )
    put_text(
        tmp_path / "HAM10000_metadata.csv",
        "lesion_id,image_id,dx,dx_type,age,sex,localization\n"
        "HAM_0000550,ISIC_0024306,nv,follow_up,45.0,male,trunk",
    )
    put_masks(tmp_path / "HAM10000_segmentations_lesion_tschandl", ids)
    rows = read("isic2018", tmp_path)
    assert rows["diagnosis"].tolist() == ["nevus", "actinic keratosis or intraepithelial carcinoma"]
    assert rows["lesion_id"].tolist() == ["HAM_0000550", "HAM_0003577"]
    assert rows.loc["ISIC_0024306", ["age", "sex", "site"]].tolist() == [45.0, "male", "torso"]
    assert rows["mask"].notna().all()


@pytest.mark.parametrize("nested", ["", "ISIC_2019_Training_Input"])
def test_isic2019_strips_downsampled_from_ids(tmp_path, nested):
    put_images(
        tmp_path / "ISIC_2019_Training_Input" / nested,
        ["ISIC_0000000_downsampled", "ISIC_0024306", "ISIC_0053453"],
    )
    put_text(
        tmp_path / "ISIC_2019_Training_GroundTruth.csv",
        "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n"
        "ISIC_0000000_downsampled,1.0,0,0,0,0,0,0,0,0\n"
        "ISIC_0024306,0,0,0,0,0,0,0,1.0,0\nISIC_0053453,0,0,0,0,0,0,0,0,1.0",
    )
    put_text(
        tmp_path / "ISIC_2019_Training_Metadata.csv",
        "image,age_approx,anatom_site_general,lesion_id,sex\n"
        "ISIC_0000000_downsampled,55.0,anterior torso,,female\n"
        "ISIC_0024306,45.0,lateral torso,HAM_0000550,male\nISIC_0053453,,,BCN_0003884,",
    )
    rows = read("isic2019", tmp_path)
    assert rows.index.tolist() == ["ISIC_0000000", "ISIC_0024306", "ISIC_0053453"]
    assert rows["diagnosis"].tolist()[:2] == ["melanoma", "squamous cell carcinoma"]
    assert pd.isna(rows.loc["ISIC_0053453", "diagnosis"])  # UNK is unknown, not benign
    assert rows.loc["ISIC_0000000", "image"].endswith("_downsampled.jpg")


def test_isic2019_test_set_has_metadata_only(tmp_path):
    put_images(tmp_path / "ISIC_2019_Test_Input", ["ISIC_0034321"])
    put_text(
        tmp_path / "ISIC_2019_Test_Metadata.csv",
        "image,age_approx,anatom_site_general,sex\nISIC_0034321,40,lower extremity,female",
    )
    rows = read("isic2019", tmp_path)
    assert rows["diagnosis"].isna().all() and rows["age"].tolist() == [40.0]


KAGGLE_2020 = (
    "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,"
    "benign_malignant,target\n"
    "ISIC_2637011,IP_1,male,45.0,head/neck,unknown,benign,0\n"
    "ISIC_0015719,IP_2,female,,upper extremity,melanoma,malignant,1\n"
    "ISIC_0052212,IP_2,female,50,,lentigo NOS,benign,0"
)


@pytest.mark.parametrize(
    ("table", "folder"),
    [
        ("train.csv", "jpeg/train"),
        ("ISIC_2020_Training_GroundTruth.csv", "ISIC_2020_Training_Input/train"),
        ("ISIC_2020_Training_GroundTruth_v2.csv", "ISIC_2020_Training_JPEG/train"),
    ],
)
def test_isic2020_keeps_target_where_the_diagnosis_is_unknown(tmp_path, table, folder):
    put_text(tmp_path / table, KAGGLE_2020)
    put_images(tmp_path / folder, ["ISIC_2637011", "ISIC_0015719", "ISIC_0052212"])
    rows = read("isic2020", tmp_path)
    assert rows["target"].tolist() == [0, 1, 0]
    assert pd.isna(rows.loc["ISIC_2637011", "diagnosis"])
    assert rows["diagnosis"].tolist()[1:] == ["melanoma", "benign keratosis"]
    assert rows["patient_id"].tolist() == ["IP_1", "IP_2", "IP_2"]
    assert rows["site"].tolist()[:2] == ["head/neck", "upper extremity"]


def test_isic2020_test_set(tmp_path):
    put_text(
        tmp_path / "ISIC_2020_Test_Metadata.csv",
        "image,patient,age_approx,sex,anatom_site_general\nISIC_0052060,IP_7,70.0,male,torso",
    )
    put_images(tmp_path / "ISIC_2020_Test_Input", ["ISIC_0052060"])
    rows = read("isic2020", tmp_path)
    assert rows.loc["ISIC_0052060", ["patient_id", "site"]].tolist() == ["IP_7", "torso"]
    assert rows["target"].isna().all()
