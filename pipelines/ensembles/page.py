"""What `lesion ensemble` tells a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lesioncore.metrics import TITLES, score_text
from pipelines.ensembles.diversity import FLAGGED, SCORES


def page_lines(record: Mapping[str, Any]) -> list[str]:
    """Return the record of an ensemble as lines: weights, scores, gains, pairs."""
    names, weights = record["members"], record["weights"]
    width = max(map(len, [*names, "ensemble"]))
    lines = [f"{record['n']:,} rows joined by {record['method']} (scale: {record['scale']})"]
    for place, (name, weight) in enumerate(zip(names, weights, strict=True)):
        folds = [by[place] for by in record.get("weights_by_fold", [])]
        spread = f", {min(folds):.3f} to {max(folds):.3f} over folds" if folds else ""
        lines.append(f"  {name:<{width}}  weight {weight:.3f}{spread}")
    if "scores" in record:
        lines += _score_lines(record, width)
    if record["pairs"]:
        lines += ["", f"Pairs: rank correlation; disagreement on the highest {FLAGGED:.0%}"]
    for pair in record["pairs"]:
        values = (pair["rank_correlation"], pair["disagreement"])
        shown = "  ".join("  none" if value is None else f"{value:6.3f}" for value in values)
        lines.append(f"  {pair['a']:<{width}}  {pair['b']:<{width}}  {shown}")
    return lines


def _score_lines(record: Mapping[str, Any], width: int) -> list[str]:
    found = record["scores"]
    lines = [
        "",
        f"{record['labelled']:,} with a label, {record['positives']:,} malignant by "
        f"{record['policy']!r}; 95 % intervals. Research use, not a diagnosis.",
        "gain: what the ensemble has with the member and lacks without it",
    ]
    for metric in SCORES:
        lines += [
            TITLES[metric],
            f"  {'ensemble':<{width}}  {score_text(found['ensemble'][metric])}",
        ]
        for one in found["members"]:
            line = f"  {one['name']:<{width}}  {score_text(one[metric])}"
            if "gain" in one:
                line += f"  gain {_signed(one['gain'][metric])}"
            lines.append(line)
    return lines


def _signed(score: Mapping[str, Any]) -> str:
    if score["value"] is None:
        return "not defined"
    ends = "" if score["low"] is None else f" [{score['low']:+.4f}, {score['high']:+.4f}]"
    return f"{score['value']:+.4f}{ends}"
