"""Shortcut columns: made only when named, the same in training and prediction, never by auto."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from clsstage.metadata import MetadataEncoder
from clsstage.predictor import LesionClassifier
from clsstage.shortcuts import SHORTCUTS, with_shortcuts
from clsstage.train import train
from lesioncore.files import read_table
from lesioncore.images import read_image

from .conftest import tiny


@pytest.fixture
def rows(tmp_path: Path) -> pd.DataFrame:
    (tmp_path / "a.jpg").write_bytes(b"x" * 1000)
    (tmp_path / "b.jpg").write_bytes(b"x" * 50)
    with h5py.File(tmp_path / "s.hdf5", "w") as store:
        store["c"] = np.frombuffer(b"y" * 333, np.uint8)
    images = [f"{tmp_path}/a.jpg", f"{tmp_path}/b.jpg", f"{tmp_path}/s.hdf5::c", None]
    return pd.DataFrame(
        {
            "image_id": list("abcd"),
            "image": pd.array(images, dtype="str"),
            "patient_id": pd.array(["p", "p", "q", None], dtype="str"),
            "age": [30.0, 40.0, 50.0, 60.0],
        }
    )


def test_images_of_a_patient_and_bytes_of_a_file(rows):
    made = with_shortcuts(rows, ["auto", "file_size", "n_images"])
    np.testing.assert_allclose(made["n_images"], np.log1p([2, 2, 1, np.nan]))
    np.testing.assert_allclose(made["file_size"], np.log([1000, 50, 333, np.nan]))
    assert "n_images" not in rows


def test_patients_of_two_archives_are_not_mixed_up(rows):
    rows["source"] = ["one", "two", "two", "two"]
    made = with_shortcuts(rows, ["n_images"])
    np.testing.assert_allclose(made["n_images"], np.log1p([1, 1, 1, np.nan]))


def test_only_what_is_named_and_not_there_yet_is_made(rows):
    assert with_shortcuts(rows, ["auto"]) is rows and with_shortcuts(rows, None) is rows
    assert "file_size" not in with_shortcuts(rows, ["n_images"])
    # The count over the whole archive survives the choice of a part.
    part = with_shortcuts(rows, ["n_images"]).iloc[1:]
    assert with_shortcuts(part, ["n_images"])["n_images"].iloc[0] == pytest.approx(np.log1p(2))


def test_auto_never_takes_them(rows):
    made = with_shortcuts(rows, SHORTCUTS)
    assert MetadataEncoder.fit(made, "auto").columns == ("age",)
    assert MetadataEncoder.fit(made, ["auto", "n_images"]).columns == ("age", "n_images")


def test_training_and_prediction_make_them_alike(archive, manifest, tmp_path, caplog):
    config = tiny(
        archive, tmp_path / "run", focus="full", epochs=1, metadata=["age,n_images,file_size"]
    )
    with caplog.at_level("WARNING"):
        train(config)
    assert "n_images and file_size: shortcuts" in caplog.text
    classifier = LesionClassifier.load(config.out, "cpu")
    assert classifier.metadata_columns == ("age", "n_images", "file_size")
    held_out = read_table(config.out / "oof.csv", dtype={"image_id": str})
    # The whole archive: what a patient's other images are does not depend on the split.
    table = classifier.predict_table(manifest, workers=0).set_index("image_id")
    again = table["malignant"].reindex(held_out["image_id"])
    np.testing.assert_allclose(again, held_out["malignant"], atol=1e-5)
    assert "file_size" not in " ".join(table["missing"])
    one = classifier.predict(read_image(manifest["image"].iloc[0]), age=50)
    assert one.missing == ("n_images", "file_size")
    said = classifier.predict(read_image(manifest["image"].iloc[0]), age=50, n_images=1.1)
    assert said.missing == ("file_size",)
