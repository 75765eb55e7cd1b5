"""The metadata encoder: fitted on training rows, at ease with what is missing or new."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from clsstage.metadata import MetadataEncoder
from lesioncore.errors import LesionError

NAN = float("nan")


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": ["a", "b", "c", "d"],
            "age": [30.0, 50.0, 70.0, NAN],
            "sex": pd.array(["female", "male", None, "male"], dtype="str"),
            "site": pd.array(["head/neck", None, "torso", "torso"], dtype="str"),
            "diameter_mm": [NAN] * 4,
            "target": [0.0, 1.0, 0.0, 1.0],
            "tbp_lv_areaMM2": [1.0, 2.0, 3.0, 400.0],
            "tbp_lv_dnn_lesion_confidence": [1.0, 2.0, 3.0, 4.0],
            "mel_thick_mm": [NAN, 1.0, NAN, 2.0],
        }
    )


def test_auto_takes_what_is_known_before_the_diagnosis(frame):
    encoder = MetadataEncoder.fit(frame)
    assert encoder.columns == ("age", "sex", "site", "tbp_lv_areaMM2")
    assert encoder.width == len(encoder.inputs) == 2 + 4 + 4 + 2


def test_missing_is_a_state_of_its_own(frame):
    encoder = MetadataEncoder.fit(frame, ["age", "sex"])
    code = encoder.transform(frame)
    assert encoder.inputs == ["age", "age=missing", *(f"sex={x}" for x in _sexes)]
    assert code[3].tolist()[:2] == [0.0, 1.0]
    assert code[2].tolist()[2:] == [0.0, 0.0, 0.0, 1.0]
    assert code[1].tolist()[:2] == [0.0, 0.0]  # 50 is the median, and known
    assert encoder.missing({"age": 40}) == ("sex",)


_sexes = ("female", "male", "(other)", "missing")


def test_unseen_categories_survive(frame):
    encoder = MetadataEncoder.fit(frame, ["site"])
    assert encoder.transform_row({"site": "oral/genital"}).tolist() == [0.0, 0.0, 1.0, 0.0]


def test_rows_and_tables_give_the_same_code(frame):
    encoder = MetadataEncoder.fit(frame)
    table = encoder.transform(frame)
    for row, values in enumerate(frame.to_dict("records")):
        assert np.array_equal(encoder.transform_row(values), table[row])
    assert table.dtype == np.float32
    assert np.isfinite(table).all()


def test_numbers_are_scaled_robustly_and_cut(frame):
    encoder = MetadataEncoder.fit(frame, ["tbp_lv_areaMM2"])
    assert encoder.transform(frame)[:, 0].max() <= 5.0
    assert encoder.transform_row({"tbp_lv_areaMM2": 1e30})[0] == 5.0


def test_columns_that_a_table_lacks_are_missing(frame):
    encoder = MetadataEncoder.fit(frame)
    code = encoder.transform(frame[["image_id"]])
    names = [name for name, value in zip(encoder.inputs, code[0], strict=True) if value]
    assert names == ["age=missing", "sex=missing", "site=missing", "tbp_lv_areaMM2=missing"]


def test_the_encoder_survives_json(frame):
    encoder = MetadataEncoder.fit(frame)
    again = MetadataEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert again == encoder
    assert np.array_equal(again.transform(frame), encoder.transform(frame))


def test_a_later_version_is_refused():
    with pytest.raises(LesionError, match="version 99"):
        MetadataEncoder.from_dict({"version": 99})


@pytest.mark.parametrize("columns", [None, "none", [], ["none"]])
def test_none_is_none(frame, columns):
    encoder = MetadataEncoder.fit(frame, columns)
    assert encoder.width == 0
    assert encoder.transform(frame).shape == (4, 0)
    assert encoder.transform_row({"age": 3}).shape == (0,)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (["tbp_lv_dnn_lesion_confidence"], "gives the answer away"),
        (["mel_thick_mm"], "gives the answer away"),
        (["target"], "gives the answer away"),
        (["weight"], "no metadata column 'weight'\n  wanted: some of: age, sex"),
        (["diameter_mm"], "is empty in all 4 training rows"),
    ],
)
def test_columns_that_cannot_be_used_are_refused(frame, columns, says):
    with pytest.raises(LesionError, match=says):
        MetadataEncoder.fit(frame, columns)


def test_names_can_be_given_as_text_and_added_to_auto(frame):
    assert MetadataEncoder.fit(frame, "sex, age").columns == ("sex", "age")
    assert "age" in MetadataEncoder.fit(frame, ["tbp_lv_areaMM2", "auto"]).columns


def test_hiding_makes_values_missing_or_other(frame):
    encoder = MetadataEncoder.fit(frame, ["age", "site"])
    code = encoder.transform(frame)[0]
    before = code.copy()
    hidden = encoder.hide(code, 1.0, np.random.default_rng(0))
    assert np.array_equal(code, before)
    assert hidden[1] == 1.0 and hidden[0] == 0.0
    assert hidden[2:].sum() == 1.0 and hidden[2:4].sum() == 0.0
    assert np.array_equal(encoder.hide(code, 0.0, np.random.default_rng(0)), code)
