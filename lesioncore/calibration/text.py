"""A calibration in words and tables, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lesioncore.calibration.record import Calibration
from lesioncore.metrics import Interval, score_text

_TITLES = {"log_loss": "log loss", "brier": "Brier score", "ece": "calibration error"}


def statement(calibration: Calibration) -> list[str]:
    """Return what stands behind the probabilities, the flags and the sets: a line each."""
    on = calibration.fitted_on
    how = f"{calibration.method.name}, fitted"
    if calibration.method.name == "none":
        how = "none, scores stay as they are; flags and sets fitted"
    lines = [
        f"calibration: {how} on {on.name}: {on.n:,} images, {on.positives:,} malignant by "
        f"{on.policy!r}, prevalence {on.prevalence:.2%}"
        if on.n
        else f"calibration: none; scores as learned at a prevalence of {on.prevalence:.2%}"
    ]
    if calibration.at_prevalence is not None:
        lines.append(
            f"prevalence: probabilities are moved from {on.prevalence:.2%} to the stated "
            f"{calibration.at_prevalence:.2%}; flags and sets do not depend on it"
        )
    lines.append(threshold_line(calibration))
    if calibration.conformal is not None:
        level = 1 - calibration.conformal.alpha
        lines.append(
            f"prediction sets: hold the truth for {level:.0%} of the benign and {level:.0%} of the "
            "malignant images like those; both = undecided, none = like neither"
        )
    point = calibration.operating_point
    notes = (*calibration.notes, *(() if point is None else point.notes))
    return [*lines, *(f"note: {note}" for note in notes)]


def threshold_line(calibration: Calibration) -> str:
    """Return the operating point: threshold, what it was fitted for, and what to expect of it."""
    point = calibration.operating_point
    if point is None:
        return "operating point: none, nothing is flagged"
    ends = (point.threshold.value, point.threshold.low, point.threshold.high)
    shown = _text(Interval(*map(float, calibration.shown(ends))))
    held_out = point.held_out_sensitivity is not None
    found = point.held_out_sensitivity or point.sensitivity
    spared = point.held_out_specificity or point.specificity
    return (
        f"operating point: flagged from {shown} on, fitted there for a sensitivity of "
        f"{point.wanted:.0%} ({'rows held out' if held_out else 'the same rows'}: sensitivity "
        f"{_text(found)}, specificity {_text(spared)})"
    )


def evidence_lines(calibration: Calibration) -> list[str]:
    """Return how the map was chosen, and what it does on rows that were held out from it."""
    evidence = calibration.evidence
    if not evidence:
        return ["Nothing could be held out: there is no evidence that the calibration is right."]
    return [
        *_choice_lines(calibration, evidence),
        "",
        *score_lines(evidence["scores"]),
        "",
        *_reliability_lines(evidence["reliability"]),
        "",
        *_coverage_lines(calibration, evidence["coverage"]),
        "",
        *_abstention_lines(evidence["abstention"]),
    ]


def _choice_lines(calibration: Calibration, evidence: dict[str, Any]) -> list[str]:
    lines = [f"Log loss on held-out rows ({evidence['folds']} folds by group):"]
    for name, found in evidence["cross_fitted"].items():
        more = f"  {found['behind']:+.4f} ± {found['error']:.4f}"
        chosen = name == calibration.method.name
        lines.append(f"  {name:<12} {found['log_loss']:.4f}" + ("  <- used" if chosen else more))
    return lines


def score_lines(scores: dict[str, Any]) -> list[str]:
    """Return log loss, Brier score and calibration error before and after, as a table."""
    rows = [
        (_TITLES[name], *(score_text(found[key]) for key in ("before", "after", "difference")))
        for name, found in scores.items()
    ]
    return _table(("held-out rows", "before", "after", "after - before"), rows)


def _reliability_lines(curves: dict[str, Any]) -> list[str]:
    rows = []
    for when, curve in curves.items():
        rows += [
            (when, f"{bin['predicted']:.3f}", f"{bin['observed']:.3f}", f"{bin['n']:,}")
            for bin in curve
        ]
    return _table(("reliability", "predicted", "observed", "n"), rows)


def _coverage_lines(calibration: Calibration, coverage: dict[str, Any]) -> list[str]:
    rows = [
        (name, f"{found['n']:,}", score_text(found["coverage"]),
         ", ".join(f"{part:.0%} {word}" for word, part in found["sets"].items()))
        for name, found in coverage.items()
    ]  # fmt: skip
    level = 1 - calibration.conformal.alpha if calibration.conformal is not None else 0.0
    return _table((f"sets at {level:.0%}", "n", "coverage, held out", "sets"), rows)


def _abstention_lines(curve: list[dict[str, Any]]) -> list[str]:
    rows = []
    for kept in curve:
        shares = (_share(kept[name]) for name in ("risk", "sensitivity", "specificity"))
        rows.append((f"{kept['coverage']:.0%}", f"{kept['malignant']:,}", *shares))
    return _table(("decided", "malignant", "wrong", "sensitivity", "specificity"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [head, *rows]
    ]


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _text(interval: Interval) -> str:
    return score_text(interval.to_dict())
