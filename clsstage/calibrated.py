"""Calibrated predictions: of a table of images, or of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clsstage.targets import Target
from lesioncore.calibration import Calibrated, Calibration
from lesioncore.calibration.prior import drift
from lesioncore.progress import log

if TYPE_CHECKING:
    import pandas as pd

#: Of a table, after its other columns: the score itself, the interval, and the decisions.
COLUMNS = ("malignant_raw", "malignant_low", "malignant_high", "flagged", "prediction_set")


def calibrated_table(table: pd.DataFrame, calibration: Calibration, target: Target) -> pd.DataFrame:
    """Return predictions whose `malignant` is calibrated.

    Parameters
    ----------
    table : DataFrame
        Of `LesionClassifier.predict_table`; rows without a score stay without one.
    calibration : Calibration
    target : Target
        Its classes keep their shares of the malignant part and of the benign one.

    Returns
    -------
    DataFrame
        With `COLUMNS` after the others, the score itself as `malignant_raw`.
    """
    import pandas as pd

    raw = table["malignant"].to_numpy(float)
    read = ~np.isnan(raw)
    found = calibration.apply(raw[read])

    def column(values: NDArray[Any], empty: Any, kind: Any) -> NDArray[Any]:
        filled = np.full(len(raw), empty, kind)
        filled[read] = values
        return filled

    result = table.copy()
    result["malignant"] = column(found.malignant, np.nan, float)
    for name, values in zip(COLUMNS[:3], (found.raw, found.low, found.high), strict=True):
        result[name] = column(values, np.nan, float)
    result["flagged"] = pd.array(column(found.flagged, None, object), "boolean")
    result["prediction_set"] = column(found.prediction_set, None, object)
    classes = [f"p_{name}" for name in target.classes]
    for name in target.classes:
        factor = class_factor(target, name, raw, result["malignant"].to_numpy(float))
        result[f"p_{name}"] = table[f"p_{name}"] * factor
    return result[[name for name in result if name not in classes] + classes]


def class_factor(target: Target, name: str, raw: Any, malignant: Any) -> Any:
    """Return by what the probability of a class changes where that of malignancy does, (n,)."""
    part, whole = (malignant, raw) if name in target.malignant else (1 - malignant, 1 - raw)
    return np.divide(part, whole, out=np.ones_like(part), where=np.asarray(whole) > 0)


def calibrated_score(
    score: float, diagnoses: dict[str, float], calibration: Calibration, target: Target
) -> tuple[Calibrated, dict[str, float]]:
    """Return one image's calibrated score and its diagnoses, as `calibrated_table` does."""
    found = calibration.apply_one(score)
    raw, malignant = np.array([found.raw]), np.array([found.malignant])
    return found, {
        name: float(chance * class_factor(target, name, raw, malignant)[0])
        for name, chance in diagnoses.items()
    }


def warn_of_drift(probabilities: Any, calibration: Calibration) -> None:
    """Warn where the mean of many probabilities is far from the prevalence they speak of."""
    said = drift(probabilities, calibration.prevalence)
    if said is not None:
        log.warning("%s", said)
