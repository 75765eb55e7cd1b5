"""The table of a stand-in: the 55 columns of ISIC 2024, measured on the pool or made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lesioncore.phantoms.standin.plan import BLOCK, LESIONS, Plan, tile_id
from lesioncore.phantoms.standin.pool import MM_PER_PIXEL
from lesioncore.phantoms.standin.words import BENIGN, MALIGNANT, MITOSES, PLACES, SYNTHETIC

if TYPE_CHECKING:
    import pandas as pd

#: As `train-metadata.csv` has them, in its order.
COLUMNS = (
    "isic_id", "target", "patient_id", "age_approx", "sex", "anatom_site_general",
    "clin_size_long_diam_mm", "image_type", "tbp_tile_type", "tbp_lv_A", "tbp_lv_Aext",
    "tbp_lv_B", "tbp_lv_Bext", "tbp_lv_C", "tbp_lv_Cext", "tbp_lv_H", "tbp_lv_Hext", "tbp_lv_L",
    "tbp_lv_Lext", "tbp_lv_areaMM2", "tbp_lv_area_perim_ratio", "tbp_lv_color_std_mean",
    "tbp_lv_deltaA", "tbp_lv_deltaB", "tbp_lv_deltaL", "tbp_lv_deltaLB", "tbp_lv_deltaLBnorm",
    "tbp_lv_eccentricity", "tbp_lv_location", "tbp_lv_location_simple", "tbp_lv_minorAxisMM",
    "tbp_lv_nevi_confidence", "tbp_lv_norm_border", "tbp_lv_norm_color", "tbp_lv_perimeterMM",
    "tbp_lv_radial_color_std_max", "tbp_lv_stdL", "tbp_lv_stdLExt", "tbp_lv_symm_2axis",
    "tbp_lv_symm_2axis_angle", "tbp_lv_x", "tbp_lv_y", "tbp_lv_z", "attribution",
    "copyright_license", "lesion_id", "iddx_full", "iddx_1", "iddx_2", "iddx_3", "iddx_4",
    "iddx_5", "mel_mitotic_index", "mel_thick_mm", "tbp_lv_dnn_lesion_confidence",
)  # fmt: skip
_NAMED = 0.054  # part of benign lesions that have a lesion_id
_NO_AGE, _NO_SEX = 0.008, 0.03  # parts of the patients of whom nobody wrote it down

Values = npt.NDArray[Any]


def rows_of(
    plan: Plan, block: int, traits: Mapping[str, npt.NDArray[np.float32]], targets: Values
) -> pd.DataFrame:
    """Return the rows of a block's tiles.

    Parameters
    ----------
    plan : Plan
    block : int
    traits : mapping
        From `pool.read_traits`.
    targets : (n,) int64
        From `Plan.targets`, of all tiles.

    Returns
    -------
    DataFrame
        COLUMNS, one row a tile. Sizes and colours are those of the picture that the tile was cut
        from, with an error of measurement; x, y, z, confidences and the like are made up.
    """
    import pandas as pd

    draws, count = plan.draws(block), plan.count(block)
    rng = np.random.default_rng([plan.seed, 25, block])
    malignant = targets[block * BLOCK : block * BLOCK + count] == 1
    pool = {name: values[draws.patient * LESIONS + draws.lesion] for name, values in traits.items()}
    numbers = range(block * BLOCK, block * BLOCK + count)
    columns: dict[str, Any] = {
        "isic_id": [tile_id(number) for number in numbers],
        "target": malignant.astype(np.int64),
        "patient_id": [f"PP_TILE_{patient:07d}" for patient in draws.patient],
        "image_type": "TBP tile: close-up",
        "attribution": SYNTHETIC,
        "copyright_license": SYNTHETIC,
    }
    columns |= _person(plan, draws.patient, pool)
    columns |= _place(rng, count)
    columns |= _colours(rng, pool, np.log(draws.gains).mean(axis=1))
    columns |= _shape(rng, pool)
    columns |= _scores(rng, malignant)
    columns |= _diagnosis(rng, malignant)
    biopsied = malignant | (_uniform(rng, count) < _NAMED)
    columns["lesion_id"] = _only(biopsied, [f"PL_TILE_{number:07d}" for number in numbers])
    frame = pd.DataFrame({name: columns[name] for name in COLUMNS})
    return frame.round(6)


def _person(plan: Plan, patient: Values, pool: Mapping[str, Values]) -> dict[str, Any]:
    luck = np.random.default_rng([plan.seed, 26]).random((3, plan.patients))[:, patient]
    sex = np.where(pool["male"] > 0.5, "male", "female")
    return {
        "age_approx": np.where(luck[0] < _NO_AGE, np.nan, 5 * np.rint(pool["age"] / 5)),
        "sex": _only(luck[1] >= _NO_SEX, sex),
        "tbp_tile_type": np.where(luck[2] < 0.7, "3D: XP", "3D: white"),
    }


def _place(rng: np.random.Generator, count: int) -> dict[str, Any]:
    weights = np.array([place.weight for place in PLACES])
    chosen = rng.choice(len(PLACES), BLOCK, p=weights / weights.sum())[:count]
    middle = np.array([place.xyz for place in PLACES], float)[chosen]
    xyz = middle + rng.normal(0.0, (70.0, 60.0, 45.0), (BLOCK, 3))[:count]
    names = {
        "tbp_lv_location": [place.location for place in PLACES],
        "tbp_lv_location_simple": [place.simple for place in PLACES],
        "anatom_site_general": [place.site for place in PLACES],
    }
    columns = {name: np.array(values, object)[chosen] for name, values in names.items()}
    return columns | {f"tbp_lv_{axis}": xyz[:, index] for index, axis in enumerate("xyz")}


def _colours(
    rng: np.random.Generator, pool: Mapping[str, Values], brighter: Values
) -> dict[str, Any]:
    count = len(brighter)
    # L* follows the cube root of light, a grey level its power 1 / 2.4: nearly proportional.
    light = np.exp(brighter)
    inside = {name: pool[name] + _normal(rng, count, 0.4) for name in "AB"}
    inside["L"] = pool["L"] * light + _normal(rng, count, 0.5)
    outside = {name: pool[f"{name}ext"] + _normal(rng, count, 0.3) for name in "AB"}
    outside["L"] = pool["Lext"] * light + _normal(rng, count, 0.4)
    columns = {f"tbp_lv_{name}": inside[name] for name in "ABL"}
    columns |= {f"tbp_lv_{name}ext": outside[name] for name in "ABL"}
    columns |= {f"tbp_lv_delta{name}": inside[name] - outside[name] for name in "ABL"}
    for ending, colour in (("", inside), ("ext", outside)):
        columns[f"tbp_lv_C{ending}"] = np.hypot(colour["A"], colour["B"])
        columns[f"tbp_lv_H{ending}"] = np.degrees(np.arctan2(colour["B"], colour["A"]))
    contrast = np.hypot(columns["tbp_lv_deltaL"], columns["tbp_lv_deltaB"])
    spread = pool["std_colour"] * _factor(rng, count, 0.1)
    return columns | {
        "tbp_lv_deltaLB": contrast,
        "tbp_lv_deltaLBnorm": 0.8 * contrast * _factor(rng, count, 0.05),
        "tbp_lv_color_std_mean": spread,
        "tbp_lv_radial_color_std_max": 0.96 * spread * _factor(rng, count, 0.1),
        "tbp_lv_stdL": pool["std_L"] * _factor(rng, count, 0.05),
        "tbp_lv_stdLExt": pool["std_Lext"] * _factor(rng, count, 0.05),
    }


def _shape(rng: np.random.Generator, pool: Mapping[str, Values]) -> dict[str, Any]:
    count = len(pool["area"])
    scale = MM_PER_PIXEL * _factor(rng, count, 0.04)
    major, minor = pool["major"] * scale, pool["minor"] * scale
    area, perimeter = pool["area"] * scale**2, pool["perimeter"] * scale
    return {
        "clin_size_long_diam_mm": np.round(major * _factor(rng, count, 0.03), 2),
        "tbp_lv_areaMM2": area,
        "tbp_lv_perimeterMM": perimeter,
        "tbp_lv_area_perim_ratio": perimeter**2 / area,
        "tbp_lv_minorAxisMM": minor,
        "tbp_lv_eccentricity": np.sqrt(1.0 - np.square(minor / major)),
    }


def _scores(rng: np.random.Generator, malignant: Values) -> dict[str, Any]:
    count = len(malignant)
    unsure = rng.exponential(2.5, BLOCK)[:count] * np.where(malignant, 7.0, 1.0)
    return {
        "tbp_lv_nevi_confidence": 100.0 * rng.beta(0.3, 0.48, BLOCK)[:count],
        "tbp_lv_norm_border": np.minimum(rng.gamma(4.1, 0.84, BLOCK)[:count], 10.0),
        "tbp_lv_norm_color": np.minimum(rng.gamma(2.3, 1.34, BLOCK)[:count], 10.0),
        "tbp_lv_symm_2axis": rng.beta(4.3, 9.7, BLOCK)[:count],
        "tbp_lv_symm_2axis_angle": 5 * rng.integers(0, 36, BLOCK)[:count],
        "tbp_lv_dnn_lesion_confidence": np.maximum(100.0 - unsure, 0.0),
    }


def _diagnosis(rng: np.random.Generator, malignant: Values) -> dict[str, Any]:
    count = len(malignant)
    full = np.where(malignant, _words(rng, count, MALIGNANT), _words(rng, count, BENIGN))
    levels = [[*name.split("::"), None, None, None, None][:5] for name in full]
    invasive = np.array(["Melanoma Invasive" in name for name in full])
    thick = np.round(0.2 + rng.exponential(0.35, BLOCK)[:count], 1)
    columns: dict[str, Any] = {
        "iddx_full": full,
        "mel_mitotic_index": _only(invasive, _words(rng, count, MITOSES)),
        "mel_thick_mm": np.where(invasive, thick, np.nan),
    }
    for level in range(5):
        columns[f"iddx_{level + 1}"] = np.array([names[level] for names in levels], object)
    return columns


def _only(wanted: Values, values: Sequence[str] | Values) -> Values:
    """Return text where it is wanted, None elsewhere."""
    text = np.array(values, object)
    text[~wanted] = None
    return text


def _words(rng: np.random.Generator, count: int, weights: Mapping[str, float]) -> Values:
    odds = np.array(list(weights.values()))
    chosen = rng.choice(len(odds), BLOCK, p=odds / odds.sum())[:count]
    return np.array(list(weights), object)[chosen]


# A block is drawn whole, so that a row does not depend on how many follow.
def _uniform(rng: np.random.Generator, count: int) -> Values:
    return rng.random(BLOCK)[:count]


def _normal(rng: np.random.Generator, count: int, deviation: float) -> Values:
    return rng.normal(0.0, deviation, BLOCK)[:count]


def _factor(rng: np.random.Generator, count: int, deviation: float) -> Values:
    return np.exp(_normal(rng, count, deviation))
