"""Scores by disease: which malignant lesions are missed, which benign ones are called."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from lesioncore.metrics import Interval, auc_covariance
from pipelines.subgroups import MINIMUM

NOT_STATED = "not stated"
_Z = NormalDist().inv_cdf(0.975)


def named_diagnoses(diagnoses: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return diagnoses (n,) with a word where none is stated."""
    return np.array([NOT_STATED if one is None or one != one else str(one) for one in diagnoses])


def called_ratios(
    diagnoses: npt.NDArray[Any], called: npt.NDArray[np.bool_]
) -> dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Return for each disease with enough rows the share that is called, as ratios of a `Panel`.

    Parameters
    ----------
    diagnoses : (n,) str
    called : (n,) bool, whether a row's score reaches the threshold
    """
    names, counts = np.unique(diagnoses, return_counts=True)
    found = {}
    for name in names[counts >= MINIMUM]:
        member = (diagnoses == name).astype(np.float64)
        found[ratio_name(name)] = (member * called, member)
    return found


def ratio_name(diagnosis: str) -> str:
    """Return what the share of a disease that is called is named in a `Panel`."""
    return f"called {diagnosis}"


def diagnosis_rows(
    diagnoses: npt.NDArray[Any],
    labels: npt.NDArray[np.float64],
    scores: npt.NDArray[np.float64],
    groups: npt.NDArray[Any],
    called: npt.NDArray[np.bool_],
    shares: Mapping[str, Interval],
) -> list[dict[str, Any]]:
    """Return a row a disease: malignant ones first, then by how many there are.

    Parameters
    ----------
    diagnoses, labels, scores, groups, called : (n,)
    shares : mapping
        Interval of each share of `called_ratios`, by its name.

    Returns
    -------
    list of dict
        `diagnosis`, `n`, `malignant`, `called` (how many), `median_score`, `called_share` and
        `auc` (against all rows of the other class; its interval is DeLong's by group), each
        `value`, `low`, `high`, with a `reason` where too few rows allow no claim.
    """
    names, counts = np.unique(diagnoses, return_counts=True)
    rows = []
    for name, count in zip(names, counts, strict=True):
        member = diagnoses == name
        positives = int(labels[member].sum())
        rows.append(
            {
                "diagnosis": str(name),
                "n": int(count),
                "malignant": positives,
                "called": int(called[member].sum()),
                "median_score": float(np.median(scores[member])),
                "called_share": shares[ratio_name(name)].to_dict()
                if ratio_name(name) in shares
                else _unclaimed(f"n = {count}: too few"),
                "auc": _against_the_others(member, labels, scores, groups),
            }
        )
    return sorted(rows, key=lambda row: (2 * row["malignant"] < row["n"], -row["n"]))


def _against_the_others(
    member: npt.NDArray[np.bool_],
    labels: npt.NDArray[np.float64],
    scores: npt.NDArray[np.float64],
    groups: npt.NDArray[Any],
) -> dict[str, Any]:
    own = np.unique(labels[member])
    if len(own) != 1:
        return _unclaimed("of both classes")
    others = labels != own[0]
    for count in (int(member.sum()), int(others.sum())):
        if count < MINIMUM:
            return _unclaimed(f"n = {count}: too few")
    both = member | others
    areas, covariance = auc_covariance(labels[both], scores[both], groups[both])
    value, half = float(areas[0]), float(_Z * np.sqrt(covariance[0, 0]))
    return Interval(value, max(value - half, 0.0), min(value + half, 1.0)).to_dict()


def _unclaimed(reason: str) -> dict[str, Any]:
    return {"value": None, "low": None, "high": None, "reason": reason}
