"""A whole calibration from labels and scores that nobody was trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lesioncore.calibration.abstention import abstention_curve
from lesioncore.calibration.band import fit_band
from lesioncore.calibration.choice import Choice, choose, row_losses
from lesioncore.calibration.conformal import ConformalSets, held_out_coverage
from lesioncore.calibration.operating import (
    check_sensitivity,
    fit_operating_point,
    other_thresholds,
)
from lesioncore.calibration.record import Calibration, FittedOn
from lesioncore.config import CalibrationMethod
from lesioncore.errors import UsageError
from lesioncore.metrics import Interval, brier, ece, mean, reliability_curve
from lesioncore.metrics import resamples as bootstrap_draws
from lesioncore.metrics.checks import FloatArray, probabilities

#: Metrics of a probability, in the order they are shown; each is better when lower.
MEASURES = ("log_loss", "brier", "ece")
#: Rows beyond which 200 resamples do: 1,000 of a whole archive take minutes and say the same.
MANY = 50_000


def fit_calibration(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    name: str,
    model: str,
    policy: str,
    grouped_by: str = "group",
    method: CalibrationMethod = "auto",
    sensitivity: float = 0.9,
    alpha: float = 0.1,
    notes: tuple[str, ...] = (),
    resamples: int | None = None,
    seed: int = 0,
) -> Calibration:
    """Return the calibration of a model on a set, with its operating point and conformal sets.

    Parameters
    ----------
    labels : (n,)
        1 malignant, 0 benign.
    scores : (n,)
        Probabilities by a model that did not learn from these rows.
    groups : (n,)
        Patient or lesion of each row; kept together in every fold and every resample.
    name, model, policy, grouped_by : str
        For `FittedOn`.
    method : str
        "auto" chooses, see `choice.choose`.
    sensitivity : float
        That the operating point is fitted for.
    alpha : float
        Part of each class that may be missing from its own prediction sets.
    notes : tuple of str
        What the caller knows of the rows.
    resamples, seed : int
        Of the bootstrap; left out, 1,000, or 200 of more than `MANY` rows. The seed deals the folds
        too.

    Raises
    ------
    LesionError
        No rows, or scores that are no probabilities.
    UsageError
        A sensitivity or a level that cannot be.
    """
    check_sensitivity(sensitivity)
    if not 0 < alpha < 1:
        raise UsageError(f"--alpha is {alpha:g}", wanted="between 0 and 1")
    y, s = probabilities(labels, scores)
    known = np.asarray(groups).astype(str)
    resamples = resamples or (1000 if len(y) <= MANY else 200)
    choice = choose(y, s, known, method, seed=seed)
    fitted = choice.kind.fit(y, s)
    chance = fitted(s)
    point = fit_operating_point(
        y, chance, known, choice.fold, sensitivity, resamples=resamples, seed=seed
    )
    said = [*notes, *choice.notes]
    if point is None:
        said.append("one class has no row: no operating point, and probabilities stay as they are")
    elif choice.fold is None:
        said.append("one class has one case alone: nothing could be held out to choose or check by")
    return Calibration(
        method=fitted,
        fitted_on=FittedOn(
            name=name,
            model=model,
            n=len(y),
            positives=int(y.sum()),
            prevalence=float(y.mean()),
            policy=policy,
            grouped_by=grouped_by,
            groups=len(np.unique(known)),
        ),
        band=None if choice.fold is None else fit_band(choice.kind, y, s, known, seed=seed),
        operating_point=point,
        conformal=ConformalSets.fit(y, s, alpha),
        evidence=_evidence(
            y, s, known, choice, chance, sensitivity, alpha, resamples=resamples, seed=seed
        ),
        notes=tuple(said),
    )


def _evidence(
    labels: FloatArray,
    scores: FloatArray,
    groups: npt.NDArray[Any],
    choice: Choice,
    fitted: FloatArray,
    sensitivity: float,
    alpha: float,
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Return how the map was chosen and what it does on rows it was not fitted on."""
    if choice.held_out is None or choice.fold is None:
        return {}
    after = choice.held_out
    return {
        "folds": len(np.unique(choice.fold)),
        "cross_fitted": choice.losses,
        "scores": compare(labels, scores, after, groups, resamples=resamples, seed=seed),
        "reliability": {
            when: _curve(labels, chance) for when, chance in (("before", scores), ("after", after))
        },
        "coverage": held_out_coverage(labels, scores, choice.fold, alpha),
        "abstention": [
            kept.to_dict()
            for kept in abstention_curve(
                labels, fitted, other_thresholds(labels, fitted, choice.fold, sensitivity)
            )
        ],
    }


def compare(
    labels: FloatArray,
    before: FloatArray,
    after: FloatArray,
    groups: npt.NDArray[Any],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return each of `MEASURES` of two columns of probabilities, and after minus before.

    Parameters
    ----------
    labels, before, after : (n,) float64
    groups : (n,) str
        Drawn as a whole, the same resamples for both.
    resamples, seed : int
    """
    result: dict[str, Any] = {}
    options: dict[str, Any] = {"groups": groups, "n": resamples, "seed": seed}
    for name in MEASURES:
        values, draws = [], []
        for chance in (before, after):
            metric, arrays = _measure(name, labels, chance)
            values.append(float(metric(*arrays)))
            draws.append(bootstrap_draws(metric, *arrays, **options))
        result[name] = {
            "before": Interval.of(values[0], draws[0]).to_dict(),
            "after": Interval.of(values[1], draws[1]).to_dict(),
            "difference": Interval.of(values[1] - values[0], draws[1] - draws[0]).to_dict(),
        }
    return result


def _measure(name: str, labels: FloatArray, chance: FloatArray) -> tuple[Any, tuple[Any, ...]]:
    if name == "log_loss":
        return mean, (row_losses(labels, chance),)
    return {"brier": brier, "ece": ece}[name], (labels, chance)


def _curve(labels: FloatArray, chance: FloatArray) -> list[dict[str, float | int]]:
    found = reliability_curve(labels, chance)
    return [
        {"predicted": float(p), "observed": float(o), "n": int(n)}
        for p, o, n in zip(found.predicted, found.observed, found.count, strict=True)
    ]
