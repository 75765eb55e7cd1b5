"""What a page says of scores of malignancy: ranking, thresholds, meaning, diseases, patients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lesioncore.metrics import (
    TITLES,
    number_needed_to_biopsy,
    reliability_curve,
    roc_curve,
)
from lesioncore.metrics.sweep import Sweep
from pipelines import report_curves as curves
from pipelines.report_figures import calibration_figure
from pipelines.report_headlines import projected_needed
from pipelines.report_patients import patients_section
from pipelines.report_svg import Array
from pipelines.scoring_table import ScoredRows
from pipelines.scoring_text import p_text

#: Score, digits, how it is read.
MEANINGS: Mapping[str, tuple[int, str]] = {
    "auc": (3, "1 is perfect, 0.5 is guessing"),
    "pauc": (4, "ISIC 2024: 0.2 is perfect, 0.02 is guessing"),
    "average_precision": (3, "guessing gets the share of malignant rows"),
    "sensitivity_at_specificity_90": (3, "share of malignant called when 90% of benign are spared"),
    "sensitivity_at_specificity_95": (3, "the same with 95% spared"),
    "specificity_at_sensitivity_90": (3, "share of benign spared when 90% of malignant are called"),
    "specificity_at_sensitivity_95": (3, "the same with 95% called"),
    "number_needed_to_biopsy_80": (1, "lesions called for each malignant one; depends on how rare"),
    "number_needed_to_biopsy_90": (1, "the same at 90% sensitivity"),
    "top15_sensitivity": (3, "each patient with a malignant lesion weighs alike"),
    "brier": (4, "mean squared error of the probability; lower is better"),
    "ece": (4, "mean gap between said and seen; noise alone raises it"),
    "calibration_intercept": (2, "0 is right; below 0 the probabilities are too high"),
    "calibration_slope": (2, "1 is right; below 1 they are too extreme"),
}
#: Prevalences at which the cost of finding is said: total body photography, a clinic, an archive.
_PREVALENCES = (0.001, 0.01, 0.1)


def malignancy_section(rows: ScoredRows, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures and tables of the scores of `rows`, the first model leading.

    Parameters
    ----------
    rows : ScoredRows
        Of both classes.
    result : mapping
        What `score_rows` gave for them.

    Returns
    -------
    dict
        What the template `malignancy.html.j2` shows.
    """
    models = model_scores(rows, result)
    first = next(iter(models))
    lead = models[first]
    scores, labels = rows.scores[first], rows.labels
    probabilities = "reason" not in lead["decision_curve"]
    prevalence = float(labels.mean())
    point = lead["operating_point"]
    names = {name: name if len(models) > 1 else "the model" for name in models}
    sweeps = {name: _sweep(labels, one) for name, one in rows.scores.items()}
    needed = {share: float(number_needed_to_biopsy(labels, scores, share)) for share in (0.8, 0.9)}
    return {
        "first": first if len(models) > 1 else "",
        "roc": curves.roc_figure(
            {names[name]: roc_curve(labels, one)[:2] for name, one in rows.scores.items()},
            {names[name]: _note(names, name, "AUC", one["auc"]) for name, one in models.items()},
            result["min_tpr"],
            (1 - point["specificity"]["value"], point["sensitivity"]["value"]),
        ),
        "precision": curves.precision_figure(
            {names[name]: (tps / tps[-1], tps / called) for name, (tps, called) in sweeps.items()},
            {
                names[name]: _note(names, name, "average", one["average_precision"])
                for name, one in models.items()
            },
            prevalence,
        ),
        "needed": curves.needed_figure(
            {names[name]: (tps / tps[-1], called / tps) for name, (tps, called) in sweeps.items()},
            needed,
        ),
        "decision": _decision(models, prevalence) if probabilities else None,
        "histogram": curves.scores_figure(scores, labels, point["threshold"], probabilities),
        "calibration": calibration(labels, scores) if probabilities else None,
        "no_probabilities": lead["decision_curve"].get("reason"),
        "min_tpr": result["min_tpr"],
        "threshold": f"{point['threshold']:.3g}",
        "chosen": point["chosen"],
        "projected": [
            (f"{share:.1%}".replace(".0%", "%"), projected_needed(point, share))
            for share in _PREVALENCES
        ],
        "models": list(models) if len(models) > 1 else [],
        "scores": [
            {
                "name": TITLES[key] if key != "pauc" else f"pAUC above {result['min_tpr']:.0%} TPR",
                "digits": digits,
                "meaning": meaning,
                "cells": [one.get(key) for one in models.values()],
            }
            for key, (digits, meaning) in MEANINGS.items()
            if any(key in one for one in models.values())
        ],
        "diagnoses": lead.get("diagnoses", []),
        "patients": patients_section(scores, labels, rows.patients, _ids(rows), probabilities)
        if rows.patients is not None
        else None,
        "pairs": [_pair(item, result["groups"]["by"]) for item in result.get("differences", [])],
    }


def model_scores(rows: ScoredRows, result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return what `scores.json` says of each model by its name, also where there is one."""
    named: dict[str, Mapping[str, Any]] = dict(result.get("models") or {})
    return named or {next(iter(rows.scores)): result}


def calibration(labels: Array, chances: Array) -> str:
    """Return the calibration figure: bins that expect as many malignant, Wilson intervals."""
    bins = int(np.clip(chances.sum() / 8, 3, 10))
    curve = reliability_curve(labels, chances, bins, equal_sum=True)
    low, high = wilson(curve.observed, curve.count)
    return calibration_figure(curve.predicted, curve.observed, low, high, curve.count, chances)


def wilson(rate: Any, count: Any, z: float = 1.959964) -> tuple[Any, Any]:
    """Return the Wilson score interval of a rate (k,) seen on `count` (k,) images."""
    middle = (rate + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(rate * (1 - rate) / count + (z / (2 * count)) ** 2)
    # Rounding must not put the rate itself outside its interval.
    return np.minimum(middle - half, rate), np.maximum(middle + half, rate)


def _sweep(labels: Array, scores: Array) -> tuple[Array, Array]:
    """Return true positives and all called, (k,) each, at thresholds that call a positive."""
    tps, fps = (
        counts[:, 0] for counts in Sweep.of(labels, scores).counts(np.ones((len(labels), 1)))
    )
    some = tps > 0
    return tps[some], (tps + fps)[some]


def _note(names: Mapping[str, str], name: str, word: str, score: Mapping[str, Any]) -> str:
    value = "–" if score["value"] is None else f"{score['value']:.3f}"
    return f"{word} {value}" if len(names) == 1 else f"{names[name]}, {value}"


def _decision(models: Mapping[str, Mapping[str, Any]], prevalence: float) -> str:
    drawn = {
        name if len(models) > 1 else "the model": one["decision_curve"]
        for name, one in models.items()
        if "reason" not in one["decision_curve"]
    }
    first = next(iter(drawn.values()))

    def column(curve: Mapping[str, Any], key: str) -> Array:
        return np.array(curve[key], dtype=np.float64)  # null becomes NaN, which is not drawn

    return curves.decision_figure(
        column(first, "threshold"),
        {name: column(curve, "net_benefit") for name, curve in drawn.items()},
        (column(first, "low"), column(first, "high")),
        column(first, "treat_all"),
        prevalence,
    )


def _ids(rows: ScoredRows) -> Any:
    if rows.about is not None and "image_id" in rows.about:
        return rows.about["image_id"].to_numpy()
    return np.arange(len(rows.labels))


def _pair(item: Mapping[str, Any], by: str) -> dict[str, Any]:
    grouped = "delong_by_group" in item
    test = item["delong_by_group" if grouped else "delong"]
    return {
        "a": item["a"],
        "b": item["b"],
        "auc": item["auc"],
        "pauc": item["pauc"],
        "specificity": item["specificity_at_sensitivity_90"],
        "p": p_text(test["p"]),
        "test": f"DeLong by {by}" if grouped else "DeLong",
        "verdict": _verdict(item),
    }


def _verdict(item: Mapping[str, Any]) -> str:
    score = item["auc"]
    if score["low"] is None:
        return "not defined"
    if score["low"] > 0:
        return f"by the AUC {item['a']} ranks better"
    if score["high"] < 0:
        return f"by the AUC {item['b']} ranks better"
    return "by the AUC no clear difference"
