"""From scores to probabilities that mean what they say, with the decisions that rest on them."""

from lesioncore.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "CALIBRATION_FILE": "lesioncore.calibration.record",
        "Calibrated": "lesioncore.calibration.record",
        "Calibration": "lesioncore.calibration.record",
        "Calibrator": "lesioncore.calibration.calibrator",
        "ConformalSets": "lesioncore.calibration.conformal",
        "FittedOn": "lesioncore.calibration.record",
        "OperatingPoint": "lesioncore.calibration.operating",
        "calibrator_class": "lesioncore.calibration.calibrator",
        "fit_calibration": "lesioncore.calibration.fitting",
        "read_calibration": "lesioncore.calibration.record",
        "write_calibration": "lesioncore.calibration.record",
    },
)
