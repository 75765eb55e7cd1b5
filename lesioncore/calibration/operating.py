"""The operating point: the threshold for a named sensitivity, and how sure one can be of it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lesioncore.errors import UsageError
from lesioncore.metrics import Interval, bootstrap, mean, threshold_for
from lesioncore.metrics.checks import FloatArray

#: Fewer malignant cases (groups) than this make no threshold one can rely on.
FEW = 20


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold on calibrated probabilities: from it on an image is flagged.

    Attributes
    ----------
    wanted : float
        The sensitivity that it was fitted for.
    threshold, sensitivity, specificity : Interval
        On the rows that it was fitted on, with bootstrap intervals by group. The threshold's is
        over thresholds of resamples, the others' are of this one threshold.
    held_out_sensitivity, held_out_specificity : Interval or None
        Of thresholds fitted on other folds: what to expect of new images. None without folds.
    notes : tuple of str
        What speaks against relying on it.
    """

    wanted: float
    threshold: Interval
    sensitivity: Interval
    specificity: Interval
    held_out_sensitivity: Interval | None = None
    held_out_specificity: Interval | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "wanted_sensitivity": self.wanted,
            **{name: _plain(getattr(self, name)) for name in _INTERVALS},
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> OperatingPoint:
        """Return the operating point that `to_dict` gave."""
        return cls(
            wanted=float(values["wanted_sensitivity"]),
            **{name: _interval(values[name]) for name in _INTERVALS},  # type: ignore[arg-type]
            notes=tuple(values["notes"]),
        )


_INTERVALS = (
    "threshold", "sensitivity", "specificity", "held_out_sensitivity", "held_out_specificity",
)  # fmt: skip


def check_sensitivity(wanted: float) -> None:
    """Refuse a sensitivity that no threshold has.

    Raises
    ------
    UsageError
    """
    if not 0 < wanted <= 1:
        raise UsageError(f"--sensitivity is {wanted:g}", wanted="more than 0 and at most 1")


def fit_operating_point(
    labels: FloatArray,
    probabilities: FloatArray,
    groups: npt.NDArray[Any],
    fold: npt.NDArray[np.int64] | None,
    wanted: float,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> OperatingPoint | None:
    """Return the highest threshold that finds the part `wanted` of the malignant rows.

    Parameters
    ----------
    labels : (n,) float64
    probabilities : (n,) float64
        By the map that will be used; a threshold depends on their order alone, and so does not gain
        from the map having seen these rows.
    groups : (n,) str
    fold : (n,) int64 or None
        To hold rows out from their own threshold.
    wanted : float
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    OperatingPoint or None
        None where one class has no row.
    """
    check_sensitivity(wanted)
    malignant, benign = labels == 1, labels == 0
    if not (malignant.any() and benign.any()):
        return None
    best = functools.partial(threshold_for, sensitivity=wanted)
    options: dict[str, Any] = {"n": resamples, "seed": seed}
    threshold = bootstrap(
        best, labels[malignant], probabilities[malignant], groups=groups[malignant], **options
    )

    def shares(flagged: npt.NDArray[np.bool_]) -> tuple[Interval, Interval]:
        right = np.where(malignant, flagged, ~flagged).astype(np.float64)
        found, spared = (
            bootstrap(mean, right[rows], groups=groups[rows], **options)
            for rows in (malignant, benign)
        )
        return found, spared

    sensitivity, specificity = shares(probabilities >= threshold.value)
    held_out: tuple[Interval | None, Interval | None] = (None, None)
    if fold is not None:
        held_out = shares(probabilities >= other_thresholds(labels, probabilities, fold, wanted))
    return OperatingPoint(
        wanted, threshold, sensitivity, specificity, *held_out,
        notes=_notes(wanted, len(np.unique(groups[malignant])), specificity, held_out[0]),
    )  # fmt: skip


def other_thresholds(
    labels: FloatArray, probabilities: FloatArray, fold: npt.NDArray[np.int64], wanted: float
) -> FloatArray:
    """Return for each row the threshold that the other folds give, (n,)."""
    found = np.empty(len(labels))
    for number in np.unique(fold):
        inside = fold == number
        found[inside] = threshold_for(labels[~inside], probabilities[~inside], wanted)
    return found


def _notes(
    wanted: float, cases: int, specificity: Interval, held_out: Interval | None
) -> tuple[str, ...]:
    notes = []
    if cases < FEW or cases * (1 - wanted) < 1:
        notes.append(
            f"{cases} malignant cases are too few to tell a sensitivity of {wanted:.0%} from others"
        )
    if specificity.value == 0:
        notes.append(f"a sensitivity of {wanted:.0%} is reached only by flagging every image")
    if held_out is not None and held_out.high < wanted:
        notes.append(f"rows held out from the threshold had a sensitivity of {held_out} only")
    return tuple(notes)


def _plain(interval: Interval | None) -> dict[str, float | None] | None:
    return None if interval is None else interval.to_dict()


def _interval(values: dict[str, float | None] | None) -> Interval | None:
    if values is None:
        return None
    numbers = (values[name] for name in ("value", "low", "high"))
    return Interval(*(float("nan") if number is None else float(number) for number in numbers))
