"""Words of the table of a stand-in: places of the body, diagnoses as ISIC 2024 writes them."""

from __future__ import annotations

from typing import NamedTuple

#: In every row where the archive names who gave the picture and under which licence.
SYNTHETIC = "synthetic phantom, made for benchmarks"


class Place(NamedTuple):
    """A place of the body: its three names, how common it is, and where it lies in mm."""

    location: str
    simple: str
    site: str | None
    weight: float
    xyz: tuple[float, float, float]


PLACES = (
    Place("Torso Back Top Third", "Torso Back", "posterior torso", 17.8, (0, 1370, 150)),
    Place("Torso Back Middle Third", "Torso Back", "posterior torso", 11.5, (0, 1230, 140)),
    Place("Torso Back Bottom Third", "Torso Back", "posterior torso", 1.2, (0, 1060, 130)),
    Place("Torso Front Top Half", "Torso Front", "anterior torso", 15.9, (0, 1340, -40)),
    Place("Torso Front Bottom Half", "Torso Front", "anterior torso", 5.7, (0, 1130, -70)),
    Place("Left Leg - Lower", "Left Leg", "lower extremity", 7.0, (160, 310, 60)),
    Place("Right Leg - Lower", "Right Leg", "lower extremity", 6.3, (-160, 310, 60)),
    Place("Left Leg - Upper", "Left Leg", "lower extremity", 5.7, (150, 680, 50)),
    Place("Right Leg - Upper", "Right Leg", "lower extremity", 5.6, (-150, 680, 50)),
    Place("Left Leg", "Left Leg", "lower extremity", 0.4, (150, 500, 50)),
    Place("Right Leg", "Right Leg", "lower extremity", 0.3, (-150, 500, 50)),
    Place("Left Arm - Upper", "Left Arm", "upper extremity", 5.6, (300, 1300, 90)),
    Place("Right Arm - Upper", "Right Arm", "upper extremity", 5.6, (-300, 1300, 90)),
    Place("Left Arm - Lower", "Left Arm", "upper extremity", 2.8, (400, 1090, 40)),
    Place("Right Arm - Lower", "Right Arm", "upper extremity", 2.8, (-400, 1090, 40)),
    Place("Left Arm", "Left Arm", "upper extremity", 0.4, (350, 1200, 60)),
    Place("Right Arm", "Right Arm", "upper extremity", 0.3, (-350, 1200, 60)),
    Place("Head & Neck", "Head & Neck", "head/neck", 3.2, (0, 1580, 40)),
    Place("Unknown", "Unknown", None, 1.9, (0, 1000, 60)),
)

_MELANOMA = "Malignant::Malignant melanocytic proliferations (Melanoma)::"
_BASAL = "Malignant::Malignant adnexal epithelial proliferations - Follicular::"
_SQUAMOUS = "Malignant::Malignant epidermal proliferations::"

#: Diagnosis of a malignant row, levels joined as in `iddx_full`, and its weight.
MALIGNANT = {
    f"{_BASAL}Basal cell carcinoma::Basal cell carcinoma, Nodular": 23.0,
    f"{_BASAL}Basal cell carcinoma::Basal cell carcinoma, Superficial": 13.0,
    f"{_BASAL}Basal cell carcinoma": 4.0,
    f"{_SQUAMOUS}Squamous cell carcinoma in situ": 14.0,
    f"{_SQUAMOUS}Squamous cell carcinoma, Invasive": 5.0,
    f"{_MELANOMA}Melanoma in situ": 20.0,
    f"{_MELANOMA}Melanoma, NOS": 4.0,
    f"{_MELANOMA}Melanoma Invasive::Melanoma Invasive, Superficial spreading": 17.0,
}
#: Diagnosis of a benign row: nearly all were never biopsied.
BENIGN = {
    "Benign": 99.85,
    "Benign::Benign melanocytic proliferations::Nevus": 0.09,
    "Benign::Benign epidermal proliferations::Seborrheic keratosis": 0.04,
    "Benign::Benign epidermal proliferations::Pigmented benign keratosis": 0.02,
}
#: Mitoses of invasive melanomas.
MITOSES = {"<1/mm^2": 44.0, "0/mm^2": 38.0, "1/mm^2": 6.0, "2/mm^2": 6.0, ">4/mm^2": 6.0}
