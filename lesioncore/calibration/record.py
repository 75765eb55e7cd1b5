"""What a run or a hospital keeps of a calibration: `calibration.json`, and how it is applied."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lesioncore.calibration.band import Band
from lesioncore.calibration.calibrator import Calibrator, calibrator_class
from lesioncore.calibration.conformal import ConformalSets
from lesioncore.calibration.operating import OperatingPoint
from lesioncore.calibration.prior import odds, shifted
from lesioncore.errors import LesionError, refuse_newer
from lesioncore.files import PathLike, read_json, write_json
from lesioncore.metrics.checks import FloatArray
from lesioncore.runs import now, tool_version

#: Of a run's folder, and of a folder of weights.
CALIBRATION_FILE = "calibration.json"
SCHEMA = 1


@dataclass(frozen=True)
class FittedOn:
    """The set that a calibration comes from.

    Attributes
    ----------
    name : str
        For people: "ham10000, out-of-fold", the name of a hospital's table.
    model : str
        Whose scores they are.
    n, positives : int
        Images, and malignant ones among them.
    prevalence : float
        Of malignancy among them, 0 to 1.
    policy : str
        What counts as malignant.
    grouped_by : str
        What was kept together: "patient_id", "lesion_id", "group", "row".
    groups : int
    """

    name: str
    model: str
    n: int
    positives: int
    prevalence: float
    policy: str
    grouped_by: str
    groups: int


@dataclass(frozen=True)
class Calibrated:
    """What a calibration makes of scores; every field is (n,), or one value of one image.

    Attributes
    ----------
    raw : float64
        The score it was given.
    malignant : float64
        The probability of malignancy.
    low, high : float64
        Interval of the calibration; NaN where it has none.
    flagged : bool or None
        At or above the operating point; None where there is none.
    prediction_set : str or None
        "benign", "malignant", "both" or "none": what the score does not rule out.
    """

    raw: Any
    malignant: Any
    low: Any
    high: Any
    flagged: Any
    prediction_set: Any


@dataclass(frozen=True)
class Calibration:
    """A fitted calibration.

    Attributes
    ----------
    method : Calibrator
    fitted_on : FittedOn
    band : Band or None
        Bootstrap interval of the map.
    operating_point : OperatingPoint or None
    conformal : ConformalSets or None
    at_prevalence : float or None
        The prevalence that its probabilities are moved to; None leaves them at that of the set.
    evidence : dict
        How it was chosen and how well it does on rows that were held out from it; plain values.
    notes : tuple of str
        What a reader should know before relying on it.
    created, tool_version : str
        Recorded, never compared.
    """

    method: Calibrator
    fitted_on: FittedOn
    band: Band | None = None
    operating_point: OperatingPoint | None = None
    conformal: ConformalSets | None = None
    at_prevalence: float | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    created: str = field(default_factory=now)
    tool_version: str = field(default_factory=tool_version)

    @property
    def prevalence(self) -> float:
        """The prevalence that its probabilities speak of."""
        return self.fitted_on.prevalence if self.at_prevalence is None else self.at_prevalence

    def at(self, prevalence: float | None) -> Calibration:
        """Return the calibration for a place of another prevalence; None changes nothing.

        Raises
        ------
        LesionError
            It is not between 0 and 1, or the set of the fit had one class alone.
        """
        if prevalence is None:
            return self
        odds(prevalence)
        odds(self.fitted_on.prevalence)
        return dataclasses.replace(self, at_prevalence=prevalence)

    def shown(self, probabilities: npt.ArrayLike) -> FloatArray:
        """Return probabilities at the set's prevalence as those at `prevalence`."""
        if self.at_prevalence is None:
            return np.asarray(probabilities, np.float64)
        return shifted(probabilities, self.fitted_on.prevalence, self.at_prevalence)

    @property
    def threshold(self) -> float | None:
        """The operating point as it is shown, at `prevalence`."""
        point = self.operating_point
        return None if point is None else float(self.shown(point.threshold.value))

    def apply(self, scores: npt.ArrayLike) -> Calibrated:
        """Return what the calibration makes of scores (n,) in [0, 1].

        Flags and sets follow the scores alone: sensitivity, specificity and coverage do not depend
        on the prevalence, and do not move with it.
        """
        raw = np.atleast_1d(np.asarray(scores, np.float64))
        fitted = self.method(raw)
        nothing = np.full(len(raw), np.nan)
        low, high = (nothing, nothing) if self.band is None else self.band.ends(raw, fitted)
        point, absent = self.operating_point, np.full(len(raw), None, object)
        return Calibrated(
            raw=raw,
            malignant=self.shown(fitted),
            low=self.shown(low),
            high=self.shown(high),
            flagged=absent if point is None else fitted >= point.threshold.value,
            prediction_set=absent if self.conformal is None else self.conformal.sets(raw),
        )

    def apply_one(self, score: float) -> Calibrated:
        """Return what the calibration makes of one score, each field one plain value."""
        found = self.apply([score])
        flagged = found.flagged[0]
        return Calibrated(
            raw=float(found.raw[0]),
            malignant=float(found.malignant[0]),
            low=float(found.low[0]),
            high=float(found.high[0]),
            flagged=None if flagged is None else bool(flagged),
            prediction_set=found.prediction_set[0],
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the calibration as JSON-ready values."""
        return {
            "schema_version": SCHEMA,
            "tool_version": self.tool_version,
            "created": self.created,
            "method": self.method.name,
            "parameters": self.method.to_dict(),
            "at_prevalence": self.at_prevalence,
            "fitted_on": dataclasses.asdict(self.fitted_on),
            "operating_point": _dict_of(self.operating_point),
            "conformal": _dict_of(self.conformal),
            "band": _dict_of(self.band),
            "notes": list(self.notes),
            "evidence": self.evidence,
        }

    @classmethod
    def from_dict(cls, values: Any, where: object = "calibration") -> Calibration:
        """Return the calibration that `to_dict` gave.

        Raises
        ------
        LesionError
            `values` is none, or one of a newer version; `where` names the file.
        UsageError
            A method that nobody knows.
        """
        if not isinstance(values, dict) or "schema_version" not in values:
            raise LesionError(
                f"{where} holds no calibration", wanted="a file that lesion calibrate wrote"
            )
        refuse_newer(f"{where} has schema version", values["schema_version"], SCHEMA)
        try:
            return cls(
                method=calibrator_class(values["method"]).from_dict(values["parameters"]),
                fitted_on=FittedOn(**values["fitted_on"]),
                band=_made(Band.from_dict, values["band"]),
                operating_point=_made(OperatingPoint.from_dict, values["operating_point"]),
                conformal=_made(lambda part: ConformalSets(**part), values["conformal"]),
                at_prevalence=values["at_prevalence"],
                evidence=values["evidence"],
                notes=tuple(values["notes"]),
                created=values["created"],
                tool_version=values["tool_version"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise LesionError(
                f"{where} is no whole calibration: {type(error).__name__}: {error}",
                wanted="a file that lesion calibrate wrote",
                mend="lesion calibrate makes it again",
            ) from error


def read_calibration(path: PathLike) -> Calibration:
    """Return the calibration in a file.

    Raises
    ------
    LesionError
        No such file, something else, or a newer version.
    """
    return Calibration.from_dict(read_json(path), path)


def write_calibration(path: PathLike, calibration: Calibration) -> None:
    """Write a calibration as JSON, whole or not at all."""
    write_json(path, calibration.to_dict())


def calibration_in(folder: PathLike) -> Calibration | None:
    """Return the calibration in a run's folder or one of weights; None where there is none."""
    path = Path(folder) / CALIBRATION_FILE
    return read_calibration(path) if path.is_file() else None


def _dict_of(part: Any) -> dict[str, Any] | None:
    return None if part is None else part.to_dict()


def _made(make: Any, values: Mapping[str, Any] | None) -> Any:
    return None if values is None else make(values)
