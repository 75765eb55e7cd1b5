"""A person's own data: a folder of photographs, or a table with a mapping."""

from __future__ import annotations

import pandas as pd
import pytest

from lesioncore.config import DataOptions
from lesioncore.errors import LesionError, UsageError
from lesioncore.images import read_image
from lesioncore.leaks import model_columns
from lesioncore.readers import create_reader, load_manifest
from lesioncore.records import check_manifest, write_manifest
from tests.core.archives import put_images, put_masks, put_store, put_text


def read(name, root, **options):
    return create_reader(name, root, **options).read().set_index("image_id")


def test_folder_with_masks_beside_the_images(tmp_path):
    put_images(tmp_path, ["a", "b", "c"])
    put_images(tmp_path / "clinic two", ["d"], ".PNG")
    put_masks(tmp_path, ["a"], "_segmentation.png")
    put_masks(tmp_path, ["b"], "_mask.png")
    rows = read("folder", tmp_path)
    assert sorted(rows.index) == ["a", "b", "c", "d"]
    assert rows.loc["a", "mask"].endswith("a_segmentation.png")
    assert rows.loc["b", "mask"].endswith("b_mask.png")
    assert rows.loc[["c", "d"], "mask"].isna().all()
    assert rows["target"].isna().all()


@pytest.mark.parametrize("ending", [".png", "_segmentation.png", "_mask.png"])
@pytest.mark.parametrize("images", ["images", "Images", ""])
def test_folder_with_masks_in_a_folder_of_their_own(tmp_path, ending, images):
    put_images(tmp_path / images, ["a", "b"])
    put_masks(tmp_path / "masks", ["a", "b"], ending)
    rows = read("folder", tmp_path)
    assert rows.index.tolist() == ["a", "b"]
    assert rows["mask"].tolist() == [f"{tmp_path}/masks/{x}{ending}" for x in ("a", "b")]
    assert rows["image"].str.endswith(".jpg").all()


def test_folder_takes_labels_and_numbers_from_its_table(tmp_path):
    put_images(tmp_path / "images", ["001", "002", "003"])
    put_text(
        tmp_path / "metadata.csv",
        "image_id,target,diagnosis,age,sex,site,patient_id,itch,melanoma,ulcer_mm\n"
        "002.jpg,1,BCC,71,f,back,0042,True,0,2.5\n001.jpg,0,nevus,,m,unknown,0043,False,0,",
    )
    rows = read("folder", tmp_path)
    assert rows.index.tolist() == ["002", "001", "003"]
    assert rows["diagnosis"].tolist()[:2] == ["basal cell carcinoma", "nevus"]
    assert rows["patient_id"].tolist()[:2] == ["0042", "0043"]
    assert rows["site"].tolist()[0] == "posterior torso"
    assert rows["target"].tolist()[:2] == [1.0, 0.0]
    assert model_columns(rows) == ["itch", "ulcer_mm"]
    assert pd.isna(rows.loc["003", "target"])


def test_folder_refuses_two_images_of_one_name(tmp_path):
    put_images(tmp_path / "x", ["a"])
    put_images(tmp_path / "y", ["a"], ".png")
    with pytest.raises(LesionError, match="two images have the id 'a'"):
        read("folder", tmp_path)


@pytest.fixture
def table(tmp_path):
    put_images(tmp_path / "photos", ["p1", "p2"])
    put_masks(tmp_path / "masks", ["p1"], ".png")
    put_store(tmp_path / "tiles.hdf5", ["p3"])
    put_text(
        tmp_path / "clinic.csv",
        "nr,file name,outline,outcome,years,gender,place,who,hb\n"
        "p1,photos/p1.jpg,masks/p1.png,malignant,61,F,back,007,13.1\n"
        f"p2,{tmp_path}/photos/p2.jpg,,benign,unknown,M,arm,008,12.0\n"
        "p3,tiles.hdf5::p3,,,40,,,,11.5",
    )
    return tmp_path


MAPPING = {
    "image_id": "nr",
    "image": "file name",
    "mask": "outline",
    "target": "outcome",
    "age": "years",
    "sex": "gender",
    "site": "place",
    "patient_id": "who",
    "haemoglobin": "hb",
}


@pytest.mark.parametrize("root", ["", "clinic.csv"])
def test_csv_maps_columns_and_resolves_paths(table, root):
    rows = read("csv", table / root, columns=MAPPING)
    assert rows.index.tolist() == ["p1", "p2", "p3"]
    assert rows["target"].tolist()[:2] == [1.0, 0.0] and pd.isna(rows["target"].iloc[2])
    assert rows["age"].tolist()[0] == 61.0 and pd.isna(rows["age"].iloc[1])
    assert rows["sex"].tolist()[:2] == ["female", "male"]
    assert rows["patient_id"].tolist()[:2] == ["007", "008"]
    assert rows["mask"].notna().tolist() == [True, False, False]
    assert model_columns(rows) == ["haemoglobin"]
    assert all(read_image(image).shape == (12, 16, 3) for image in rows["image"])


def test_csv_mapping_reaches_the_reader_through_the_options(table):
    options = DataOptions(dataset="csv", root=table, columns=MAPPING)
    assert len(load_manifest(options)) == 3


def test_csv_mapping_to_a_missing_column_lists_the_columns(table):
    with pytest.raises(UsageError) as caught:
        read("csv", table, columns={**MAPPING, "target": "label"})
    assert "no column 'label' (for target)" in str(caught.value)
    assert "nr, file name, outline, outcome, years" in str(caught.value)


def test_csv_finds_usual_names_without_a_mapping(tmp_path):
    put_images(tmp_path / "somewhere", ["ISIC_1", "ISIC_2"])
    put_text(tmp_path / "t.csv", "isic_id,target,age_approx\nISIC_1,1,50\nISIC_2,0,")
    rows = read("csv", tmp_path)
    assert rows["image"].str.endswith(".jpg").all()
    assert rows["age"].tolist()[0] == 50.0


def test_csv_takes_the_id_from_the_file_name(tmp_path):
    put_images(tmp_path, ["x1", "x2"])
    put_text(tmp_path / "t.csv", "path,malignant\nx1.jpg,1\nx2.jpg,0")
    assert read("csv", tmp_path).index.tolist() == ["x1", "x2"]


def test_csv_says_when_images_and_masks_are_not_there(table, caplog):
    (table / "masks" / "p1.png").unlink()
    (table / "photos" / "p2.jpg").unlink()
    rows = read("csv", table, columns=MAPPING)
    assert rows.index.tolist() == ["p1", "p3"]
    assert "1 masks that it names are not there" in caplog.text
    assert "1 of 3 rows have no image on disk" in caplog.text


def test_csv_refuses_a_label_that_is_not_binary(tmp_path):
    put_images(tmp_path, ["a"])
    put_text(tmp_path / "t.csv", "image_id,target\na,nevus")
    with pytest.raises(LesionError, match="not a binary label: nevus"):
        read("csv", tmp_path)


def test_csv_refuses_to_guess_between_tables_and_needs_an_id(tmp_path):
    put_text(tmp_path / "a.csv", "age\n1")
    with pytest.raises(LesionError, match="no column for the image or its id; it has: age"):
        read("csv", tmp_path)
    put_text(tmp_path / "b.csv", "age\n1")
    with pytest.raises(LesionError, match=r"several tables: a\.csv, b\.csv"):
        read("csv", tmp_path)


def test_csv_reads_a_manifest_that_was_written(tmp_path):
    put_images(tmp_path, ["a", "b"])
    manifest = check_manifest(
        pd.DataFrame(
            {
                "image_id": ["a", "b"],
                "image": [str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")],
                "diagnosis": ["melanoma", None],
                "site": ["head/neck", "torso"],
                "tbp_lv_A": [1.0, 2.0],
            }
        )
    )
    write_manifest(tmp_path / "manifest.parquet", manifest)
    rows = read("csv", tmp_path)
    assert rows["diagnosis"].tolist()[0] == "melanoma"
    assert rows["site"].tolist() == ["head/neck", "torso"]
    assert model_columns(rows) == ["tbp_lv_A"]
