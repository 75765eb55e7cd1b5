"""Features that one row gives, each written once: the formula that the documentation shows is the
one that is computed.

Many are of the notebooks and solutions of ISIC 2024 (Kurtansky et al. 2025, npj Digit Med 8:708,
and the code of its first, third and fourth places); the names and the choice are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import CodeType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_FUNCTIONS: Mapping[str, Any] = {
    "abs": np.abs,
    "sqrt": np.sqrt,
    "log1p": np.log1p,
    "hypot": np.hypot,
    "arctan2": np.arctan2,
    "pi": np.pi,
}


@dataclass(frozen=True)
class Formula:
    """A feature of one row.

    Attributes
    ----------
    name : str
    family : str
        `geometry`, `border`, `colour`, `position` or `masks`.
    text : str
        An expression of columns, + - * / **, and abs, sqrt, log1p, hypot, arctan2, pi.
    """

    name: str
    family: str
    text: str

    @cached_property
    def _code(self) -> CodeType:
        return compile(self.text, f"<{self.name}>", "eval")

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The columns that it is made of."""
        return tuple(name for name in self._code.co_names if name not in _FUNCTIONS)

    def __call__(self, columns: Mapping[str, Array]) -> Array:
        """Return the feature of all rows, (n,) float64; NaN or infinite where it is not defined."""
        # The text is a constant of this module; names are columns and the functions above alone.
        scope = {name: columns[name] for name in self.sources}
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.asarray(eval(self._code, {"__builtins__": {}, **_FUNCTIONS}, scope))


_BY_FAMILY: Mapping[str, Mapping[str, str]] = {
    "geometry": {
        "roundness_mm": "tbp_lv_minorAxisMM / diameter_mm",
        "elongation_mm": "diameter_mm - tbp_lv_minorAxisMM",
        "area_to_perimeter": "tbp_lv_areaMM2 / tbp_lv_perimeterMM",
        "area_to_perimeter_squared": "tbp_lv_areaMM2 / tbp_lv_perimeterMM ** 2",
        "area_to_ellipse": "tbp_lv_areaMM2 / (pi / 4 * diameter_mm * tbp_lv_minorAxisMM)",
        "area_log": "log1p(tbp_lv_areaMM2)",
        "size_for_age": "diameter_mm / age",
        "area_for_age": "tbp_lv_areaMM2 / age",
        "age_times_size": "age * diameter_mm",
        "asymmetry_times_size": "tbp_lv_symm_2axis * diameter_mm",
        "asymmetry_times_eccentricity": "tbp_lv_symm_2axis * tbp_lv_eccentricity",
        "shape_times_size": "tbp_lv_area_perim_ratio * log1p(tbp_lv_areaMM2)",
    },
    "border": {
        "perimeter_to_circle": "tbp_lv_perimeterMM / (pi * diameter_mm)",
        "perimeter_to_area_circle": "tbp_lv_perimeterMM / sqrt(4 * pi * tbp_lv_areaMM2)",
        "border_for_perimeter": "tbp_lv_norm_border / tbp_lv_perimeterMM",
        "border_plus_asymmetry": "tbp_lv_norm_border + 10 * tbp_lv_symm_2axis",
        "border_times_asymmetry": "tbp_lv_norm_border * tbp_lv_symm_2axis",
        "border_times_colour": "tbp_lv_norm_border * tbp_lv_norm_color",
        "border_to_colour": "tbp_lv_norm_border / (1 + tbp_lv_norm_color)",
        "abcd": "10 * tbp_lv_symm_2axis + tbp_lv_norm_border + tbp_lv_norm_color"
        " + tbp_lv_eccentricity + diameter_mm",
    },
    "colour": {
        "hue_contrast": "tbp_lv_H - tbp_lv_Hext",
        "chroma_contrast": "tbp_lv_C - tbp_lv_Cext",
        "lightness_to_skin": "tbp_lv_L / tbp_lv_Lext",
        "a_to_skin": "tbp_lv_A / tbp_lv_Aext",
        "b_to_skin": "tbp_lv_B / tbp_lv_Bext",
        "colour_difference": "sqrt(tbp_lv_deltaL ** 2 + tbp_lv_deltaA ** 2 + tbp_lv_deltaB ** 2)",
        "red_part_of_difference": "tbp_lv_deltaA / (abs(tbp_lv_deltaL) + abs(tbp_lv_deltaB) + 1)",
        "colour_spread_to_rim": "tbp_lv_color_std_mean / tbp_lv_radial_color_std_max",
        "lightness_spread_to_skin": "tbp_lv_stdL / tbp_lv_stdLExt",
        "lightness_spread_to_light": "tbp_lv_stdL / tbp_lv_L",
        "colour_spread_to_contrast": "tbp_lv_color_std_mean / tbp_lv_deltaLBnorm",
        "contrast_plus_colour": "tbp_lv_deltaLBnorm + tbp_lv_norm_color",
        "colour_spread_times_eccentricity": "tbp_lv_color_std_mean * tbp_lv_eccentricity",
        "contrast_times_size": "tbp_lv_deltaLBnorm * diameter_mm",
        "skin_tone_angle": "arctan2(tbp_lv_Lext - 50, tbp_lv_Bext) * 180 / pi",
        "nevus_confidence_for_age": "tbp_lv_nevi_confidence / age",
        "nevus_confidence_times_size": "tbp_lv_nevi_confidence * diameter_mm",
    },
    "position": {
        "height_and_side": "hypot(tbp_lv_x, tbp_lv_y)",
        "distance_from_axis": "hypot(tbp_lv_x, tbp_lv_z)",
        "distance_from_origin": "sqrt(tbp_lv_x ** 2 + tbp_lv_y ** 2 + tbp_lv_z ** 2)",
        "side": "abs(tbp_lv_x)",
        "azimuth": "arctan2(tbp_lv_x, tbp_lv_z)",
    },
    "masks": {
        "mask_area_to_reported": "mask_area_mm2 / tbp_lv_areaMM2",
        "mask_diameter_to_reported": "mask_max_feret_mm / diameter_mm",
        "mask_perimeter_to_reported": "mask_perimeter_mm / tbp_lv_perimeterMM",
        "mask_irregularity": "mask_compactness / mask_solidity",
        "mask_asymmetry_times_variegation": "mask_asymmetry * mask_colour_variegation",
        "mask_lightness_to_skin": "mask_lesion_l_mean / mask_skin_l_mean",
        "mask_redness_to_skin": "mask_lesion_a_mean - mask_skin_a_mean",
        "mask_contrast_times_size": "mask_delta_e * mask_equivalent_diameter_px",
    },
}  # fmt: skip

FORMULAS = tuple(
    Formula(name, family, text) for family, by in _BY_FAMILY.items() for name, text in by.items()
)
