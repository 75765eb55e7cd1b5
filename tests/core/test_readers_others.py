"""HAM10000, PH2, PAD-UFES-20 and MILK10k in their official layouts."""

from __future__ import annotations

import pandas as pd
import pytest

from lesioncore.errors import LesionError
from lesioncore.leaks import model_columns
from lesioncore.readers import create_reader
from tests.core.archives import put_images, put_masks, put_text


def read(name, root, **options):
    return create_reader(name, root, **options).read().set_index("image_id")


HAM = (
    "lesion_id,image_id,dx,dx_type,age,sex,localization\n"
    "HAM_0000118,ISIC_0027419,bkl,histo,80.0,male,scalp\n"
    "HAM_0000118,ISIC_0025030,akiec,histo,,unknown,unknown"
)
BOTH = ["ISIC_0027419", "ISIC_0025030"]


@pytest.mark.parametrize(
    ("table", "folders", "masks"),
    [
        (
            "HAM10000_metadata.csv",
            ("HAM10000_images", "HAM10000_images"),
            "HAM10000_segmentations_lesion_tschandl",
        ),
        (
            "HAM10000_metadata",  # as on Dataverse
            ("HAM10000_images_part_1", "HAM10000_images_part_2"),
            "HAM10000_segmentations_lesion_tschandl/HAM10000_segmentations_lesion_tschandl",
        ),
        (
            "ham10000_METADATA.csv",
            ("ham10000_images_part_1", "ham10000_images_part_2"),
            "ham10000_segmentations_lesion_tschandl",
        ),
    ],
)
def test_ham10000_in_one_folder_or_two_parts_in_any_case(tmp_path, table, folders, masks):
    put_text(tmp_path / table, HAM)
    for folder, image_id in zip(folders, BOTH, strict=True):
        put_images(tmp_path / folder, [image_id])
    put_masks(tmp_path / masks, BOTH)
    rows = read("ham10000", tmp_path)
    assert rows.index.tolist() == BOTH
    assert rows["mask"].notna().all()
    assert rows["lesion_id"].eq("HAM_0000118").all() and rows["patient_id"].isna().all()
    assert rows["site"].tolist()[0] == "head/neck"
    assert rows.loc["ISIC_0025030", ["age", "sex", "site"]].isna().all()
    assert rows["target"].isna().all()  # seven classes, no binary label of its own
    assert "dx_type" in rows and model_columns(rows) == []


def test_ham10000_without_masks(tmp_path):
    put_text(tmp_path / "HAM10000_metadata.csv", HAM)
    put_images(tmp_path / "HAM10000_images", BOTH)
    assert read("ham10000", tmp_path)["mask"].isna().all()


PH2_TEXT = """
|| Name || Histological Diagnosis || Clinical Diagnosis || Asymmetry | Pigment Network || Colors ||
|| IMD003 ||  ||  0 ||  0 |  T |  A |  A |  A |  A ||  4 ||
|| IMD009 ||  Compound nevus  ||  1 ||  1 |  AT |  T |  A |  A |  A ||  3  4 ||
|| IMD061 ||  Melanoma ||  2 ||  2 |  AT |  AT |  P |  P |  P ||  1  5  6  ||

Legends:
Clinical Diagnosis:
	0 - Common Nevus;
"""
PH2_SHEET = """
,,,,,,,,
PH2 database,,,,,,,,
,,Clinical Diagnosis,,,,,,
Image Name,Histological Diagnosis,Common Nevus,Atypical Nevus,Melanoma,"Asymmetry
(0/1/2)",Pigment Network (AT/T),White,Red
IMD003,,X,,,0,T,,
IMD009,Compound nevus,,X,,1,AT,X,
IMD061,Melanoma,,,X,2,AT,X,X
"""
CASES = ["IMD003", "IMD009", "IMD061"]


def put_ph2(folder):
    for case in CASES:
        base = folder / "PH2 Dataset images" / case
        put_images(base / f"{case}_Dermoscopic_Image", [case], ".bmp")
        put_masks(base / f"{case}_lesion", [case], "_lesion.bmp")
        put_masks(base / f"{case}_roi", [case], "_R1_Label3.bmp")


@pytest.mark.parametrize(
    ("name", "text"), [("PH2_dataset.txt", PH2_TEXT), ("PH2_dataset.csv", PH2_SHEET)]
)
@pytest.mark.parametrize("inside", ["", "PH2Dataset"])
def test_ph2_reads_a_folder_a_case_and_either_table(tmp_path, name, text, inside):
    put_ph2(tmp_path / inside)
    put_text(tmp_path / inside / name, text)
    rows = read("ph2", tmp_path)
    assert rows.index.tolist() == CASES
    assert rows["diagnosis"].tolist() == ["nevus", "nevus", "melanoma"]
    assert rows.loc["IMD003", "image"].endswith("IMD003_Dermoscopic_Image/IMD003.bmp")
    assert rows.loc["IMD003", "mask"].endswith("IMD003_lesion/IMD003_lesion.bmp")
    assert rows["ph2_asymmetry"].tolist() == ["0", "1", "2"]
    assert rows["ph2_pigment_network"].tolist() == ["T", "AT", "AT"]
    assert model_columns(rows) == []


def test_ph2_without_its_table_has_images_and_masks(tmp_path):
    put_ph2(tmp_path)
    rows = read("ph2", tmp_path)
    assert rows["mask"].notna().all() and rows["diagnosis"].isna().all()


def test_ph2_refuses_a_sheet_without_its_header(tmp_path):
    put_ph2(tmp_path)
    put_text(tmp_path / "PH2_dataset.csv", "a,b\n1,2")
    with pytest.raises(LesionError, match="no header row with 'Image Name'"):
        read("ph2", tmp_path)


PAD = (
    "patient_id,lesion_id,smoke,background_father,age,gender,fitspatrick,region,diameter_1,"
    "diameter_2,diagnostic,itch,img_id,biopsed\n"
    "PAT_1516,1765,,,8,,,ARM,,,NEV,False,PAT_1516_1765_530.png,False\n"
    "PAT_46,881,False,POMERANIA,55,FEMALE,2.0,NECK,6.0,9.0,BCC,UNK,PAT_46_881_939.png,True\n"
    "PAT_47,082,True,ITALY,65,MALE,3.0,LIP,0,0,ACK,True,PAT_47_082_940.png,True"
)


@pytest.mark.parametrize("parts", [("images", "images"), ("images/imgs_part_1", "imgs_part_3")])
def test_pad_ufes_reads_images_in_parts_and_clinical_answers(tmp_path, parts):
    put_text(tmp_path / "metadata.csv", PAD)
    put_images(tmp_path / parts[0], ["PAT_1516_1765_530", "PAT_46_881_939"], ".png")
    put_images(tmp_path / parts[1], ["PAT_47_082_940"], ".png")
    rows = read("pad-ufes-20", tmp_path)
    assert rows.index.tolist() == ["PAT_1516_1765_530", "PAT_46_881_939", "PAT_47_082_940"]
    assert rows["diagnosis"].tolist() == ["nevus", "basal cell carcinoma", "actinic keratosis"]
    assert rows["lesion_id"].tolist() == ["1765", "881", "082"]
    assert rows["modality"].eq("clinical").all()
    assert rows["diameter_mm"].isna().tolist() == [True, False, True]
    assert rows.loc["PAT_46_881_939", "diameter_mm"] == 9.0
    assert rows["site"].tolist() == ["upper extremity", "head/neck", "head/neck"]
    assert model_columns(rows) == ["smoke", "fitspatrick", "diameter_1", "diameter_2", "itch"]
    assert rows["smoke"].tolist()[1:] == [0.0, 1.0] and pd.isna(rows["itch"].iloc[1])


MILK = (
    "lesion_id,image_type,isic_id,attribution,copyright_license,image_manipulation,age_approx,sex,"
    "skin_tone_class,site,MONET_hair\n"
    "IL_1,clinical: close-up,ISIC_11,MILK study team,CC-BY-NC,altered,70,male,1,head_neck_face,.2\n"
    "IL_1,dermoscopic,ISIC_12,MILK study team,CC-BY-NC,altered,70,male,1,head_neck_face,.3\n"
    "IL_2,clinical: close-up,ISIC_21,MILK study team,CC-BY-NC,altered,,female,4,trunk,.4\n"
    "IL_2,dermoscopic,ISIC_22,MILK study team,CC-BY-NC,instrument only,,female,4,trunk,.5"
)
MILK_TRUTH = (
    "lesion_id,AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC\n"
    "IL_2,1.0,0,0,0,0,0,0,0,0,0,0\nIL_1,0,1.0,0,0,0,0,0,0,0,0,0"
)


@pytest.mark.parametrize("supplement", [True, False])
def test_milk10k_has_two_images_a_lesion(tmp_path, supplement):
    put_text(tmp_path / "MILK10k_Training_Metadata.csv", MILK)
    put_text(tmp_path / "MILK10k_Training_GroundTruth.csv", MILK_TRUTH)
    if supplement:
        put_text(
            tmp_path / "MILK10k_Training_Supplement.csv",
            "isic_id,diagnosis_full,diagnosis_confirm_type,invasion_thickness_interval\n"
            'ISIC_21,"Squamous cell carcinoma in situ, Bowens disease",histopathology,\n'
            'ISIC_22,"Squamous cell carcinoma in situ, Bowens disease",histopathology,',
        )
    put_images(tmp_path / "MILK10k_Training_Input" / "IL_1", ["ISIC_11", "ISIC_12"])
    put_images(tmp_path / "MILK10k_Training_Input" / "IL_2", ["ISIC_21", "ISIC_22"])
    rows = read("milk10k", tmp_path)
    assert rows["modality"].tolist() == ["clinical", "dermoscopy"] * 2
    assert rows["lesion_id"].tolist() == ["IL_1", "IL_1", "IL_2", "IL_2"]
    assert rows["site"].tolist() == ["head/neck", "head/neck", "torso", "torso"]
    akiec = "actinic keratosis or intraepithelial carcinoma"
    bowen = "squamous cell carcinoma" if supplement else akiec
    assert rows["diagnosis"].tolist() == ["basal cell carcinoma"] * 2 + [bowen] * 2
    assert model_columns(rows) == ["skin_tone_class", "MONET_hair"]


def test_milk10k_test_set_has_no_labels(tmp_path):
    put_text(tmp_path / "MILK10k_Test_Metadata.csv", MILK)
    put_images(tmp_path / "MILK10k_Test_Input" / "IL_1", ["ISIC_11", "ISIC_12"])
    rows = read("milk10k", tmp_path)
    assert len(rows) == 2 and rows["diagnosis"].isna().all()
