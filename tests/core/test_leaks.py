"""Columns that give the answer away never become model inputs."""

from __future__ import annotations

import pandas as pd
import pytest

from lesioncore.leaks import is_leaking, model_columns
from lesioncore.readers import create_reader
from lesioncore.records import check_manifest

# Every column of ISIC 2024's training table that its test table does not have, besides the ids.
ONLY_IN_TRAINING_2024 = (
    "iddx_full", "iddx_1", "iddx_2", "iddx_3", "iddx_4", "iddx_5", "mel_mitotic_index",
    "mel_thick_mm", "tbp_lv_dnn_lesion_confidence", "target",
)  # fmt: skip


@pytest.mark.parametrize(
    "column",
    [
        *ONLY_IN_TRAINING_2024,
        "dx_type", "biopsed", "diagnosis_confirm_type", "diagnosis_raw", "diagnosis_full",
        "invasion_thickness_interval", "attribution", "copyright_license", "benign_malignant",
        "melanoma", "seborrheic_keratosis", "MEL", "SCCKA", "Histological Diagnosis",
        "ph2_blue_whitish_veil", "oof_prediction", "prediction", "fold", "Target",
    ],
)  # fmt: skip
def test_these_give_the_answer_away(column):
    assert is_leaking(column)


@pytest.mark.parametrize(
    "column",
    ["tbp_lv_A", "tbp_lv_nevi_confidence", "MONET_hair", "skin_tone_class", "itch", "grew",
     "fitspatrick", "diameter_1", "tbp_tile_type", "elevation", "melanin_index"],
)  # fmt: skip
def test_these_may_be_looked_at(column):
    assert not is_leaking(column)


def frame() -> pd.DataFrame:
    return check_manifest(
        pd.DataFrame(
            {
                "image_id": ["a", "b"],
                "image": ["/a.jpg", "/b.jpg"],
                "target": [1, 0],
                "age": [50, 60],
                "tbp_lv_A": [1.0, 2.0],
                "tbp_lv_symm_2axis_angle": [5, 10],
                "tbp_lv_location": ["Torso", "Arm"],
                "mel_thick_mm": [0.4, None],
                "tbp_lv_dnn_lesion_confidence": [99.0, 1.0],
                "iddx_1": ["Malignant", "Benign"],
            }
        )
    )


def test_model_columns_are_numeric_and_neither_core_nor_leaking():
    assert model_columns(frame()) == ["tbp_lv_A", "tbp_lv_symm_2axis_angle"]


def test_training_and_test_tables_of_isic_2024_give_the_same_model_columns(real_data):
    root = real_data / "isic2024_slice3d_sample"
    train = create_reader("isic2024", root, split="train", require_images=False).read()
    test = create_reader("isic2024", root, split="test").read()
    assert model_columns(train) == model_columns(test)
    assert len(model_columns(train)) == 32
    only_in_training = set(train.columns) - set(test.columns)
    assert only_in_training and all(is_leaking(column) for column in only_in_training)
