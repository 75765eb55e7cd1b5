"""`lesion evaluate`: any table of predictions against labels, several models paired."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from lesioncore.errors import LesionError
from lesioncore.files import write_json
from lesioncore.metrics import (
    MALIGNANCY_METRICS,
    TITLES,
    Interval,
    partial_auc,
    positive_strata,
    resamples,
    score_text,
    top_k_sensitivity,
)
from lesioncore.progress import log, track
from pipelines.scoring_config import EvaluateConfig
from pipelines.scoring_table import ScoredRows, scored_rows

TOP_15 = "top15_sensitivity"
NAMES = (*MALIGNANCY_METRICS, TOP_15)


def evaluate(config: EvaluateConfig) -> int:
    """Write or print the scores as JSON, and a table for a person.

    With `out` the table goes to stdout; without it stdout is the JSON and the table goes to stderr.

    Raises
    ------
    LesionError
        As `scored_rows`, or all labels are of one class.
    """
    rows = scored_rows(config)
    result = scores_of(rows, config)
    table = "\n".join(table_lines(result))
    if config.out is None:
        print(json.dumps(result, indent=2))
        print(table, file=sys.stderr)
    else:
        out = config.out if config.out.suffix == ".json" else config.out / "scores.json"
        write_json(out, result)
        print(table)
        log.info("scores: %s", out)
    return 0


def scores_of(rows: ScoredRows, config: EvaluateConfig) -> dict[str, Any]:
    """Return the content of `scores.json`.

    One model: its metrics at the top. Several: `models` by name and `differences`, each first
    minus second over the same resamples.
    """
    _require_two_classes(rows, config)
    head = {
        "n": len(rows.labels),
        "positives": int(rows.labels.sum()),
        "policy": rows.policy,
        "min_tpr": config.min_tpr,
        "groups": {"by": rows.grouped_by, "n": len(np.unique(rows.groups.astype(str)))},
        "bootstrap": {
            "n": config.resamples,
            "level": 0.95,
            "seed": config.seed,
            "stratified": config.stratify,
        },
        "unmatched": rows.unmatched,
        "unlabelled": rows.unlabelled,
    }
    values: dict[str, dict[str, float]] = {}
    draws: dict[str, dict[str, np.ndarray]] = {}
    models: dict[str, dict[str, Any]] = {}
    for name in track(rows.scores, "bootstrap"):
        values[name], draws[name], reasons = _one_model(rows, name, config)
        models[name] = {
            metric: Interval.of(values[name][metric], draws[name][metric]).to_dict()
            for metric in values[name]
        } | {metric: _undefined(reason) for metric, reason in reasons.items()}
    if len(models) == 1:
        return head | next(iter(models.values()))
    differences = [
        {"a": a, "b": b}
        | {
            metric: Interval.of(
                values[a][metric] - values[b][metric], draws[a][metric] - draws[b][metric]
            ).to_dict()
            for metric in values[a]
            if metric in values[b]
        }
        for a, b in combinations(models, 2)
    ]
    shared = {key: head[key] for key in ("n", "positives", "policy")}
    return head | {
        "models": {name: shared | scores for name, scores in models.items()},
        "differences": differences,
    }


def table_lines(result: Mapping[str, Any]) -> list[str]:
    """Return the scores as lines for a person."""
    lines = [
        f"{result['n']:,} rows, {result['positives']:,} malignant by {result['policy']!r}; "
        f"95 % intervals by {result['groups']['by']} ({result['groups']['n']:,} groups)",
        "Research use, not a diagnosis.",
    ]
    models = result.get("models") or {"": result}
    metrics = [metric for metric in NAMES if any(metric in scores for scores in models.values())]
    lines += _grid(models, metrics, result["min_tpr"])
    if result.get("differences"):
        lines += ["", "Differences, first minus second, over the same resamples:"]
        pairs = {f"{item['a']} - {item['b']}": item for item in result["differences"]}
        lines += _grid(pairs, metrics, result["min_tpr"])
    reasons = {
        f"  {metric} of {name or 'the scores'}: {scores[metric]['reason']}"
        for name, scores in models.items()
        for metric in metrics
        if "reason" in scores.get(metric, {})
    }
    return lines + sorted(reasons)


def _one_model(
    rows: ScoredRows, name: str, config: EvaluateConfig
) -> tuple[dict[str, float], dict[str, np.ndarray], dict[str, str]]:
    """Return the value and the resampled values of each metric, and why others are not defined."""
    metrics: dict[str, Callable[..., Any]] = {
        **MALIGNANCY_METRICS,
        "pauc": functools.partial(partial_auc, min_tpr=config.min_tpr),
    }
    arrays: dict[str, tuple[Any, ...]] = dict.fromkeys(metrics, (rows.labels, rows.scores[name]))
    if rows.patients is not None:
        metrics[TOP_15] = top_k_sensitivity
        arrays[TOP_15] = (rows.labels, rows.scores[name], rows.patients)
    strata = positive_strata(rows.labels, rows.groups) if config.stratify else None
    values, draws, reasons = {}, {}, {}
    for metric, function in metrics.items():
        try:
            values[metric] = float(function(*arrays[metric]))
        except LesionError as error:  # Brier and ECE of scores that are no probabilities
            reasons[metric] = error.found
            continue
        draws[metric] = resamples(
            function,
            *arrays[metric],
            groups=rows.groups,
            strata=strata,
            n=config.resamples,
            seed=config.seed,
        )
    return values, draws, reasons


def _require_two_classes(rows: ScoredRows, config: EvaluateConfig) -> None:
    positives = int(rows.labels.sum())
    if positives in (0, len(rows.labels)):
        raise LesionError(
            f"all {len(rows.labels)} labels are "
            f"{'malignant' if positives else 'benign'} by {rows.policy!r}: no ranking to score",
            wanted="at least one malignant and one benign row",
            mend="check --label-column and --policy, or score more images",
        )


def _undefined(reason: str) -> dict[str, Any]:
    return {"value": None, "low": None, "high": None, "reason": reason}


def _grid(models: Mapping[str, Mapping[str, Any]], metrics: list[str], min_tpr: float) -> list[str]:
    """Return one line a metric where there is one model, else one block a model."""
    title = {
        **TITLES,
        "pauc": f"pAUC above {min_tpr:.0%} TPR (best {1 - min_tpr:.2g})",
        TOP_15: "found in each patient's top 15",
    }
    width = max(len(title[metric]) for metric in metrics)
    lines: list[str] = []
    for name, scores in models.items():
        lines += [name] if name else []
        for metric in metrics:
            lines.append(f"  {title[metric]:<{width}}  {score_text(scores.get(metric, {}))}")
    return lines
