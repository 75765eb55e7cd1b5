"""One disease has one name in all archives, and a policy says which are malignant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesioncore.diagnoses import (
    DISEASES,
    POLICIES,
    TABLE_VERSION,
    disease_names,
    harmonise,
    labels,
    malignant,
    unrecognised,
)
from lesioncore.errors import LesionError, UsageError
from lesioncore.sites import harmonise_sex, harmonise_site

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference" / "diagnoses.md"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("melanoma", [
            ("isic2017", "melanoma"), ("isic2018", "MEL"), ("isic2019", "MEL"),
            ("isic2020", "melanoma"), ("ham10000", "mel"), ("pad-ufes-20", "MEL"), ("ph2", "2"),
            ("milk10k", "Melanoma in situ"), ("milk10k", "Melanoma metastasis"),
            ("isic2024", "Malignant::Malignant melanocytic proliferations (Melanoma)::"
                         "Melanoma in situ::Melanoma in situ, Lentigo maligna type"),
            ("isic2024", "Malignant::Malignant melanocytic proliferations (Melanoma)"),
        ]),
        ("nevus", [
            ("isic2017", "nevus"), ("isic2018", "NV"), ("isic2019", "NV"), ("isic2020", "nevus"),
            ("ham10000", "nv"), ("pad-ufes-20", "NEV"), ("ph2", "0"), ("ph2", "1"),
            ("milk10k", "Nevus, Spitz"), ("milk10k", "Blue nevus"),
            ("isic2024", "Benign::Benign melanocytic proliferations::Nevus::Nevus, NOS, Compound"),
        ]),
        ("benign keratosis", [
            ("isic2017", "seborrheic keratosis"), ("isic2018", "BKL"), ("isic2019", "BKL"),
            ("isic2020", "seborrheic keratosis"), ("isic2020", "lichenoid keratosis"),
            ("isic2020", "solar lentigo"), ("isic2020", "lentigo NOS"), ("ham10000", "bkl"),
            ("pad-ufes-20", "SEK"), ("milk10k", "Lichen planus like keratosis"),
            ("isic2024", "Benign::Benign epidermal proliferations::Seborrheic keratosis"),
        ]),
        ("basal cell carcinoma", [
            ("isic2018", "BCC"), ("isic2019", "BCC"), ("ham10000", "bcc"), ("pad-ufes-20", "BCC"),
            ("milk10k", "Basal cell carcinoma"),
            ("isic2024", "Malignant::Malignant adnexal epithelial proliferations - Follicular::"
                         "Basal cell carcinoma::Basal cell carcinoma, Nodular"),
        ]),
        ("squamous cell carcinoma", [
            ("isic2019", "SCC"), ("pad-ufes-20", "SCC"), ("milk10k", "Keratoacanthoma"),
            ("milk10k", "Squamous cell carcinoma in situ, Bowens disease"),
            ("isic2024", "Malignant::Malignant epidermal proliferations::"
                         "Squamous cell carcinoma in situ"),
        ]),
        ("actinic keratosis", [
            ("isic2019", "AK"), ("pad-ufes-20", "ACK"), ("milk10k", "Solar or actinic keratosis"),
            ("isic2024", "Indeterminate::Indeterminate epidermal proliferations::"
                         "Solar or actinic keratosis::Actinic keratosis, Bowenoid"),
        ]),
        ("actinic keratosis or intraepithelial carcinoma", [
            ("isic2018", "AKIEC"), ("ham10000", "akiec"), ("milk10k", "AKIEC"),
        ]),
        ("vascular lesion", [
            ("isic2018", "VASC"), ("isic2019", "VASC"), ("ham10000", "vasc"),
            ("milk10k", "Hemangioma, Hobnail"), ("milk10k", "Angiokeratoma"),
        ]),
        ("dermatofibroma", [("isic2019", "DF"), ("ham10000", "df"), ("milk10k", "Dermatofibroma")]),
        ("indeterminate", [
            ("isic2020", "atypical melanocytic proliferation"),
            ("isic2024", "Indeterminate::Indeterminate melanocytic proliferations::"
                         "Atypical intraepithelial melanocytic proliferation"),
        ]),
        ("benign, unspecified", [("isic2024", "Benign")]),
        ("other benign", [
            ("isic2024", "Benign::Some family nobody listed::A rare thing"),
            ("milk10k", "Collision - Only benign proliferations"),
        ]),
        ("other malignant", [
            ("isic2024", "Malignant::Some family nobody listed"), ("milk10k", "MAL_OTH"),
        ]),
    ],
)  # fmt: skip
def test_the_same_disease_has_the_same_name_in_every_archive(name, words):
    assert {(source, raw): harmonise(source, raw) for source, raw in words} == dict.fromkeys(
        words, name
    )


@pytest.mark.parametrize("raw", [None, float("nan"), "", "unknown", "UNK", "n/a"])
def test_unknown_is_null_and_never_benign(raw):
    assert harmonise("isic2020", raw) is None
    assert unrecognised("isic2020", [raw]) == []


def test_words_outside_the_table_are_null_and_can_be_listed():
    assert harmonise("csv", "eczematous thing") is None
    assert unrecognised("csv", ["eczematous thing", "nv", None]) == ["eczematous thing"]


def test_harmonised_names_harmonise_to_themselves():
    assert [harmonise("csv", name) for name in disease_names()] == list(disease_names())


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("cancer", [1, 1, 1, 0, np.nan, 0, np.nan, np.nan]),
        ("cancer+ak", [1, 1, 1, 1, 1, 0, np.nan, np.nan]),
        ("melanoma", [1, 0, 0, 0, 0, 0, np.nan, np.nan]),
    ],
)
def test_policies(policy, expected):
    diagnoses = [
        "melanoma",
        "basal cell carcinoma",
        "squamous cell carcinoma",
        "actinic keratosis",
        "actinic keratosis or intraepithelial carcinoma",
        "nevus",
        "indeterminate",
        None,
    ]
    np.testing.assert_array_equal(malignant(diagnoses, policy), expected)
    frame = pd.DataFrame({"diagnosis": diagnoses, "target": [0.0] * 7 + [1.0]})
    np.testing.assert_array_equal(labels(frame, policy), expected)
    np.testing.assert_array_equal(labels(frame, "target"), [0.0] * 7 + [1.0])


def test_a_stricter_policy_never_calls_more_malignant():
    for disease in DISEASES:
        assert not (disease.cancer and disease.cancer_ak is False)
        assert not (disease.melanoma and disease.cancer is False)


def test_an_unknown_policy_lists_the_known():
    with pytest.raises(UsageError, match="cancer, cancer\\+ak, melanoma, target"):
        malignant(["nevus"], "cancr")
    with pytest.raises(UsageError, match="own label"):
        malignant(["nevus"], "target")


def test_a_raw_word_is_not_taken_for_a_diagnosis():
    with pytest.raises(LesionError, match="not a harmonised diagnosis: nv"):
        malignant(["nv"], "cancer")


def test_the_documented_table_is_the_table():
    text = DOCS.read_text(encoding="utf-8")
    assert f"Version {TABLE_VERSION}" in text
    answer = {True: "1", False: "0", None: "unknown"}
    for d in DISEASES:
        row = f"| {d.name} | {answer[d.cancer]} | {answer[d.cancer_ak]} | {answer[d.melanoma]} |"
        assert row in text, row
    assert all(f"`{policy}`" in text for policy in POLICIES)


@pytest.mark.parametrize(
    ("raw", "site"),
    [
        ("back", "posterior torso"), ("Head & Neck", "head/neck"), ("head_neck_face", "head/neck"),
        ("FOREARM", "upper extremity"), ("trunk", "torso"), ("palms/soles", "palms/soles"),
        ("foot", "lower extremity"), ("lateral torso", "lateral torso"), ("unknown", None),
        (None, None), (float("nan"), None), ("genital", "oral/genital"), ("acral", "palms/soles"),
    ],
)  # fmt: skip
def test_sites_have_one_vocabulary(raw, site):
    assert harmonise_site(raw) == site


@pytest.mark.parametrize(
    ("raw", "sex"), [("MALE", "male"), ("f", "female"), ("unknown", None), (None, None)]
)
def test_sexes_have_one_vocabulary(raw, sex):
    assert harmonise_sex(raw) == sex
