"""Patients, their lesions, and the chance that a lesion is malignant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lesioncore.phantoms.lesion import PATTERNS, Lesion, Pattern, draw_lesion
from lesioncore.phantoms.skin import Skin, draw_skin

# Site: chance for women, chance for men, weight in the log odds of malignancy.
_SITES = {
    "head/neck": (0.14, 0.17, 0.8),
    "anterior torso": (0.18, 0.24, -0.2),
    "posterior torso": (0.19, 0.27, 0.35),
    "upper extremity": (0.18, 0.15, 0.0),
    "lower extremity": (0.27, 0.13, 0.15),
    "palms/soles": (0.04, 0.04, -0.8),
}
_HAIR_OF_SITE = {"head/neck": 0.7, "lower extremity": 1.2, "upper extremity": 1.1}

# Log odds for one unit. Chosen so that a logistic regression on metadata alone reaches an AUC of
# 0.6 to 0.75, on the traits of the image 0.7 to 0.85, and on both more than either.
_WEIGHTS = {
    "age": 0.8,  # a standard deviation (18 years) over 52
    "male": 0.25,
    "diameter": 1.2,  # a factor e over 5.8 mm
    "asymmetry": 4.4,
    "border": 3.4,
    "colours": 0.85,  # a colour more
}


@dataclass(frozen=True)
class Patient:
    """One made-up person.

    Attributes
    ----------
    age_years : int
    sex : {"female", "male"}
    skin : Skin
    hairiness : float
        0 to 1.
    mole_style : float
        0 light moles, 1 dark ones.
    pattern : str
        Usual pattern of the moles.
    """

    age_years: int
    sex: str
    skin: Skin
    hairiness: float
    mole_style: float
    pattern: Pattern


@dataclass(frozen=True)
class Case:
    """A lesion on a patient: what a manifest row and a picture are made from."""

    patient: Patient
    lesion: Lesion
    site: str


def draw_patient(rng: np.random.Generator) -> Patient:
    """Draw a person."""
    male = bool(rng.random() < 0.5)
    hair = rng.beta(2.0, 2.5) if male else rng.beta(1.2, 4.5)
    return Patient(
        age_years=int(np.clip(rng.normal(52.0, 18.0), 15, 90)),
        sex="male" if male else "female",
        skin=draw_skin(rng),
        hairiness=float(hair),
        mole_style=float(rng.beta(2.0, 2.0)),
        pattern=PATTERNS[int(rng.choice(len(PATTERNS), p=[0.5, 0.25, 0.15, 0.1, 0.0]))],
    )


def draw_case(rng: np.random.Generator, patient: Patient) -> Case:
    """Draw a lesion somewhere on `patient`."""
    column = 1 if patient.sex == "male" else 0
    odds = np.array([values[column] for values in _SITES.values()])
    site = list(_SITES)[int(rng.choice(len(_SITES), p=odds / odds.sum()))]
    lesion = draw_lesion(rng, style=patient.mole_style, pattern=patient.pattern)
    return Case(patient, lesion, site)


def hairiness_at(case: Case) -> float:
    """Return how hairy the skin at the lesion is, 0 to 1."""
    if case.site == "palms/soles":
        return 0.0
    return min(1.0, case.patient.hairiness * _HAIR_OF_SITE.get(case.site, 1.0))


def log_odds(case: Case) -> float:
    """Return the log odds of malignancy, up to the constant that sets the prevalence."""
    lesion, patient = case.lesion, case.patient
    weights = _WEIGHTS
    return (
        weights["age"] * (patient.age_years - 52.0) / 18.0
        + weights["male"] * (patient.sex == "male")
        + _SITES[case.site][2]
        + weights["diameter"] * math.log(lesion.diameter_mm / 5.8)
        + weights["asymmetry"] * (lesion.asymmetry - 0.4)
        + weights["border"] * (lesion.border - 0.42)
        + weights["colours"] * (len(lesion.colours) - 2.2)
    )


def probability_of_malignancy(case: Case, prevalence: float) -> float:
    """Return the chance that `case` is malignant, where `prevalence` of all lesions are."""
    return 1.0 / (1.0 + math.exp(-(log_odds(case) + _constant(prevalence))))


def diagnosis_of(case: Case, malignant: bool) -> str:
    """Return a harmonised diagnosis that agrees with the label and the look."""
    lesion = case.lesion
    if malignant:
        return "basal cell carcinoma" if lesion.colours[0] == "red" else "melanoma"
    return "benign keratosis" if lesion.pattern == "keratosis" else "nevus"


@lru_cache(maxsize=32)
def _constant(prevalence: float) -> float:
    """Return the constant of the log odds that gives `prevalence` over the whole population."""
    odds = _population()
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        if float(np.mean(1.0 / (1.0 + np.exp(-(odds + middle))))) < prevalence:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@lru_cache(maxsize=1)
def _population() -> np.ndarray:
    rng = np.random.default_rng(20261124)
    return np.array([log_odds(draw_case(rng, draw_patient(rng))) for _ in range(3000)])
