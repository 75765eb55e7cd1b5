"""What the first screen says: the numbers in words that need no statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Score = Mapping[str, Any]


def headlines(
    scores: Mapping[str, Any], prevalence: float, many_lesions: bool
) -> list[dict[str, str]]:
    """Return the main findings of one model: a big number, what it means, and its range.

    Parameters
    ----------
    scores : mapping
        Of one model, as in `scores.json`.
    prevalence : float in (0, 1)
        Share of malignant rows.
    many_lesions : bool
        Most malignant lesions are of patients with more than 15, so that a place among them says
        something.
    """
    found = []
    auc = scores["auc"]
    if auc["value"] is not None:
        found.append(
            {
                "name": "Ranking",
                "value": _of_a_hundred(auc["value"]),
                "said": "times in 100, a malignant lesion gets a higher score than a benign one. "
                "Guessing gives 50.",
                "range": _range(auc, 100),
                "term": f"AUC {auc['value']:.3f}",
            }
        )
    pauc = scores["pauc"]
    needed = scores["number_needed_to_biopsy_90"]
    if needed["value"] is not None:
        found.append(
            {
                "name": "Cost of finding 9 in 10",
                "value": count_text(needed["value"]),
                "said": "lesions have to be called for each malignant one found, when 90 of 100 "
                f"malignant are to be found. Here {one_in(prevalence)} is malignant; where fewer "
                "are, it takes more.",
                "range": _counts(needed),
                "term": "number needed to biopsy at 90% sensitivity",
            }
        )
    top = scores.get("top15_sensitivity")
    if many_lesions and top is not None and top["value"] is not None:
        found.append(
            {
                "name": "Patient by patient",
                "value": f"{100 * top['value']:.0f}%",
                "said": "of a patient's malignant lesions are among the 15 with the highest "
                "scores of that patient.",
                "range": _range(top, 100, "%"),
                "term": "top-15 retrieval sensitivity",
            }
        )
    elif pauc["value"] is not None:
        found.append(
            {
                "name": "Ranking where it counts",
                "value": f"{pauc['value']:.3f}",
                "said": "is the score of the ISIC 2024 challenge, which looks only at thresholds "
                "that find most malignant lesions. 0.2 is perfect, 0.02 is guessing.",
                "range": _range(pauc, 1, digits=3),
                "term": "partial AUC above 80% sensitivity",
            }
        )
    return found


def operating_words(point: Mapping[str, Any], prevalence: float) -> dict[str, Any] | None:
    """Return what calling from a threshold up does to 100 malignant and to 100 benign lesions.

    Returns
    -------
    dict or None
        `threshold`, and of `found` and `false` how many of 100, in words and as an icon array:
        100 truths, the called ones first. None where either rate is not defined.
    """
    sensitivity, specificity = point["sensitivity"], point["specificity"]
    if sensitivity["value"] is None or specificity["value"] is None:
        return None
    found = round(100 * sensitivity["value"])
    false = round(100 * (1 - specificity["value"]))
    called = sensitivity["value"] * prevalence + (1 - specificity["value"]) * (1 - prevalence)
    # As many lesions as have ten malignant ones among them, or a thousand.
    many = 10 ** max(3, math.ceil(math.log10(9.5 / prevalence)))
    return {
        "threshold": f"{point['threshold']:.3g}",
        "chosen": point["chosen"],
        "given": point["chosen"] == "given",
        "found": found,
        "found_range": _range(sensitivity, 100),
        "false": false,
        "false_range": _flipped(specificity),
        "many": f"{many:,}",
        "malignant_of_many": f"{many * prevalence:,.0f}",
        "found_of_many": f"{many * sensitivity['value'] * prevalence:,.0f}",
        "called_of_many": f"{many * called:,.0f}",
    }


def one_in(share: float) -> str:
    """Return a share as `1 in 13`; from 40% up as `41 in 100`."""
    if share >= 0.4:
        return f"{round(100 * share)} in 100"
    return f"1 in {1 / share:,.0f}"


def count_text(number: float) -> str:
    """Return a count with two digits where it is small, as a whole number where it is not."""
    if number >= 10 or number == round(number):
        return f"{number:,.0f}"
    return f"{number:.1f}"


def projected_needed(point: Mapping[str, Any], prevalence: float) -> float | None:
    """Return the number needed to biopsy at another prevalence, the two rates being the same."""
    sensitivity, specificity = point["sensitivity"]["value"], point["specificity"]["value"]
    if not sensitivity or specificity is None:
        return None
    return 1 + (1 - specificity) * (1 - prevalence) / (sensitivity * prevalence)


def _of_a_hundred(share: float) -> str:
    return f"{100 * share:.0f}"


def _range(score: Score, scale: float, unit: str = "", digits: int = 0) -> str:
    if score["low"] is None or math.isnan(score["low"]):
        return ""
    low, high = (f"{scale * score[end]:.{digits}f}{unit}" for end in ("low", "high"))
    return f"{low} to {high}" if low != high else f"{low}, to the digits shown"


def _flipped(specificity: Score) -> str:
    if specificity["low"] is None:
        return ""
    low, high = (f"{100 * (1 - specificity[end]):.0f}" for end in ("high", "low"))
    return f"{low} to {high}" if low != high else ""


def _counts(score: Score) -> str:
    if score["low"] is None:
        return ""
    return f"{count_text(score['low'])} to {count_text(score['high'])}"
