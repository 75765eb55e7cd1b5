"""What `lesion evaluate` tells a person at a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lesioncore.metrics import MALIGNANCY_METRICS, TITLES, score_text

#: Of a model, in the order of the page.
SHOWN = (
    *MALIGNANCY_METRICS,
    "calibration_intercept",
    "calibration_slope",
    "sensitivity_at_specificity_90",
    "sensitivity_at_specificity_95",
    "specificity_at_sensitivity_90",
    "specificity_at_sensitivity_95",
    "number_needed_to_biopsy_80",
    "number_needed_to_biopsy_90",
    "top15_sensitivity",
)
#: Of a difference: the file has the rest.
_COMPARED = (*MALIGNANCY_METRICS, "specificity_at_sensitivity_90", "top15_sensitivity")
_BY_ONE = {"number_needed_to_biopsy_80", "number_needed_to_biopsy_90"}
_DISEASES = 15


def table_lines(result: Mapping[str, Any]) -> list[str]:
    """Return the content of `scores.json` as lines."""
    lines = [
        f"{result['n']:,} rows, {result['positives']:,} malignant by {result['policy']!r}; "
        f"95 % intervals by {result['groups']['by']} ({result['groups']['n']:,} groups)",
        "Research use, not a diagnosis.",
    ]
    models = result.get("models") or {"": result}
    for name, scores in models.items():
        lines += [name] if name else []
        lines += _metric_lines(scores, SHOWN, result["min_tpr"])
        lines += _threshold_lines(scores)
    if len(models) == 1:
        lines += _disease_lines(result.get("diagnoses", []))
    if result.get("differences"):
        lines += ["", "Differences, first minus second, over the same resamples:"]
        for pair in result["differences"]:
            lines.append(f"{pair['a']} - {pair['b']}")
            lines += _metric_lines(pair, _COMPARED, result["min_tpr"])
            lines += _delong_lines(pair, result["groups"]["by"])
    return lines + _reasons(models)


def p_text(p: float | None) -> str:
    """Return a p value as people print it: `p = 0.012`, `p < 0.0001`."""
    if p is None:
        return "p not defined"
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.4f}" if p < 0.1 else f"p = {p:.2f}"


def _metric_lines(scores: Mapping[str, Any], names: Sequence[str], min_tpr: float) -> list[str]:
    title = {**TITLES, "pauc": f"pAUC above {min_tpr:.0%} TPR (best {1 - min_tpr:.2g})"}
    width = max(len(title[name]) for name in SHOWN)
    lines = []
    for name in names:
        if name in scores:
            score = scores[name]
            text = _plain(score) if name in _BY_ONE else score_text(score)
            lines.append(f"  {title[name]:<{width}}  {text}")
    return lines


def _plain(score: Mapping[str, Any]) -> str:
    """Return numbers that are counts of lesions with one digit behind the point."""
    if score["value"] is None:
        return "not defined"
    text = f"{score['value']:.1f}"
    return text if score["low"] is None else f"{text} [{score['low']:.1f}, {score['high']:.1f}]"


def _threshold_lines(scores: Mapping[str, Any]) -> list[str]:
    point = scores["operating_point"]
    said = point["chosen"] if point["chosen"] == "given" else "the highest that " + point["chosen"]
    return [
        f"  calling {point['threshold']:.4g} and above ({said}): "
        f"sensitivity {_per_cent(point['sensitivity'])}, "
        f"specificity {_per_cent(point['specificity'])}, "
        f"malignant among the called {_per_cent(point['ppv'])}"
    ]


def _disease_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    width = max(len(row["diagnosis"]) for row in rows[:_DISEASES])
    lines = ["", f"{'By diagnosis':<{width + 2}}     rows  malignant  called            AUC"]
    for row in rows[:_DISEASES]:
        share, auc = row["called_share"], row["auc"]
        called = f"{row['called']} of {row['n']}" if share["value"] is None else _per_cent(share)
        lines.append(
            f"  {row['diagnosis']:<{width}}  {row['n']:>7,}  {row['malignant']:>9,}  "
            f"{called:<16}  {score_text(auc) if auc['value'] is not None else auc['reason']}"
        )
    if len(rows) > _DISEASES:
        lines.append(f"  and {len(rows) - _DISEASES} more in the file")
    return lines


def _delong_lines(pair: Mapping[str, Any], by: str) -> list[str]:
    tests = {"AUC, DeLong": pair["delong"]}
    if "delong_by_group" in pair:
        tests = {
            f"AUC, DeLong by {by}": pair["delong_by_group"],
            "AUC, DeLong, rows as independent": pair["delong"],
        }
    width = max(len(TITLES[name]) for name in SHOWN)
    return [
        f"  {name:<{width}}  {score_text(test)}  {p_text(test['p'])}"
        for name, test in tests.items()
    ]


def _per_cent(score: Mapping[str, Any]) -> str:
    if score["value"] is None:
        return "not defined"
    text = f"{100 * score['value']:.1f}%"
    if score["low"] is None:
        return text
    return f"{text} [{100 * score['low']:.1f}, {100 * score['high']:.1f}]"


def _reasons(models: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return sorted(
        {
            f"  {metric} of {name or 'the scores'}: {scores[metric]['reason']}"
            for name, scores in models.items()
            for metric in SHOWN
            if "reason" in scores.get(metric, {})
        }
    )
