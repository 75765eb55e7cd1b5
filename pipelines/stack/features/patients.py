"""A lesion against the other lesions of its patient: the ugly duckling, in numbers.

Only the patient's own lesions count, so what is said of a patient is the same whoever else is in
the table, and holds for one patient alone. Where there is nothing to compare with (a single
lesion, no spread, a patient nobody knows) the figures are neutral: z-score 0, rank 0.5, ratio 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Compared within the patient, where the table has them: (column, with ratio).
#: A ratio to the mean says something of figures that are never near 0 on both sides.
RELATIVE_COLUMNS: tuple[tuple[str, bool], ...] = (
    ("diameter_mm", True),
    ("tbp_lv_areaMM2", True),
    ("tbp_lv_perimeterMM", True),
    ("tbp_lv_minorAxisMM", True),
    ("tbp_lv_area_perim_ratio", True),
    ("tbp_lv_eccentricity", False),
    ("tbp_lv_symm_2axis", False),
    ("tbp_lv_A", False),
    ("tbp_lv_B", False),
    ("tbp_lv_C", False),
    ("tbp_lv_H", False),
    ("tbp_lv_L", True),
    ("tbp_lv_Aext", False),
    ("tbp_lv_Bext", False),
    ("tbp_lv_Hext", False),
    ("tbp_lv_Lext", False),
    ("tbp_lv_deltaA", False),
    ("tbp_lv_deltaB", False),
    ("tbp_lv_deltaL", False),
    ("tbp_lv_deltaLB", True),
    ("tbp_lv_deltaLBnorm", True),
    ("tbp_lv_color_std_mean", True),
    ("tbp_lv_radial_color_std_max", False),
    ("tbp_lv_norm_border", True),
    ("tbp_lv_norm_color", True),
    ("tbp_lv_nevi_confidence", True),
    ("tbp_lv_stdL", True),
    ("tbp_lv_stdLExt", True),
    ("mask_area_mm2", True),
    ("mask_area_fraction", True),
    ("mask_equivalent_diameter_px", True),
    ("mask_asymmetry", True),
    ("mask_compactness", True),
    ("mask_solidity", False),
    ("mask_radial_variation", True),
    ("mask_eccentricity", False),
    ("mask_colour_variegation", True),
    ("mask_colours", False),
    ("mask_delta_e", True),
    ("mask_lesion_l_mean", True),
    ("mask_lesion_a_mean", False),
    ("mask_lesion_b_mean", False),
)
#: Of these the rank as well: what a reader would sort by.
RANKED_COLUMNS = (
    "diameter_mm", "tbp_lv_areaMM2", "tbp_lv_deltaLBnorm", "tbp_lv_H", "tbp_lv_L",
    "tbp_lv_color_std_mean", "tbp_lv_norm_border", "tbp_lv_norm_color", "tbp_lv_nevi_confidence",
    "mask_area_fraction", "mask_asymmetry", "mask_compactness", "mask_colour_variegation",
    "mask_delta_e",
)  # fmt: skip
#: The space in which the local outlier factor looks for neighbours.
OUTLIER_COLUMNS = (
    "diameter_mm", "tbp_lv_minorAxisMM", "tbp_lv_eccentricity", "tbp_lv_symm_2axis",
    "tbp_lv_norm_border", "tbp_lv_norm_color", "tbp_lv_deltaLBnorm", "tbp_lv_H", "tbp_lv_L",
    "tbp_lv_C", "tbp_lv_stdL", "tbp_lv_color_std_mean",
    "mask_equivalent_diameter_px", "mask_asymmetry", "mask_compactness", "mask_colour_variegation",
    "mask_delta_e",
)  # fmt: skip


@dataclass(frozen=True)
class Patients:
    """Rows that lie patient by patient.

    Attributes
    ----------
    starts : (p,) int64
        First row of each patient; the rows of one end where the next begins.
    sizes : (p,) int64
    """

    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, codes: NDArray[np.int64]) -> Patients:
        """Return those of rows whose patients' numbers (n,) come in runs."""
        starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]]) if len(codes) else codes[:0]
        return cls(starts.astype(np.int64), np.diff(np.r_[starts, len(codes)]).astype(np.int64))

    def spread(self, values: Array) -> Array:
        """Return one value a patient (p, ...) as one a row (n, ...)."""
        return np.repeat(values, self.sizes, axis=0)


def mean_and_deviation(values: Array, patients: Patients) -> tuple[Array, Array]:
    """Return the mean and the standard deviation of each patient's known values, (p, V) each.

    Parameters
    ----------
    values : (n, V) float64
        NaN where unknown. The deviation is that of the population (divided by n).
    """
    known = ~np.isnan(values)
    count = np.add.reduceat(known, patients.starts, axis=0, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.add.reduceat(np.where(known, values, 0.0), patients.starts, axis=0) / count
        gap = np.where(known, values - patients.spread(mean), 0.0)
        return mean, np.sqrt(np.add.reduceat(gap * gap, patients.starts, axis=0) / count)


def z_scores(values: Array, mean: Array, deviation: Array, patients: Patients) -> Array:
    """Return (value - mean) / deviation of each row, 0 without a spread, NaN of NaN; (n, V)."""
    gap = values - patients.spread(mean)
    # A spread that is nothing but rounding is none.
    scale = np.where(deviation > 1e-9 * (np.abs(mean) + 1e-9), deviation, np.inf)
    return gap / patients.spread(scale)


def ratios(values: Array, mean: Array, patients: Patients) -> Array:
    """Return value / mean of each row, (n, V); 1 where the mean is 0, NaN of NaN."""
    by = patients.spread(mean)
    flat = np.abs(by) < 1e-12
    return np.where(flat, np.where(np.isnan(values), np.nan, 1.0), values / np.where(flat, 1, by))


def ranks(values: Array, patients: Patients) -> Array:
    """Return the part of the patient's lesions below each row, ties and itself by half, (n,).

    Parameters
    ----------
    values : (n,) float64
        NaN where unknown: it has no rank and does not count.
    """
    rows = np.arange(len(values))
    patient = np.repeat(np.arange(len(patients.starts)), patients.sizes)
    order = np.lexsort((values, patient))  # NaN last of each patient
    ordered = values[order]
    fresh = np.r_[True, (ordered[1:] != ordered[:-1]) | (patient[1:] != patient[:-1])]
    tie = np.flatnonzero(fresh)
    length = np.diff(np.r_[tie, len(values)])
    first = np.repeat(tie, length) - patients.starts[patient]
    found = np.empty(len(values))
    found[order[rows]] = first + np.repeat(length, length) / 2
    known = ~np.isnan(values)
    count = np.add.reduceat(known, patients.starts, dtype=np.float64)
    return np.where(known, found / np.maximum(patients.spread(count), 1), np.nan)
