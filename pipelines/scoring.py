"""`lesion evaluate`: any table of predictions against labels, several models paired."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from lesioncore.errors import LesionError
from lesioncore.files import write_json
from lesioncore.metrics import (
    DECISION_THRESHOLDS,
    AucTest,
    Interval,
    Panel,
    auc_covariance,
    calibration_line,
    positive_strata,
    resampled,
    threshold_for,
    treat_all,
)
from lesioncore.metrics.bootstrap import group_codes
from lesioncore.metrics.panel import Ratio
from lesioncore.progress import log, track
from pipelines.diagnosis_table import called_ratios, diagnosis_rows, named_diagnoses
from pipelines.scoring_config import EvaluateConfig, ScoringOptions
from pipelines.scoring_table import ScoredRows, scored_rows
from pipelines.scoring_text import table_lines

#: Of an operating point: share of the malignant called, of the benign spared, of the called that
#: are malignant, of the spared that are benign, of all that are called.
RATES = ("sensitivity", "specificity", "ppv", "npv", "called")
_CURVE = "net_benefit"
#: Sensitivity of the operating point where no threshold is given.
SENSITIVITY = 0.9


def evaluate(config: EvaluateConfig) -> int:
    """Write or print the scores as JSON, and a table for a person.

    With `out` the table goes to stdout; without it stdout is the JSON and the table goes to stderr.

    Raises
    ------
    LesionError
        As `scored_rows`, or all labels are of one class.
    """
    result = score_rows(scored_rows(config), config)
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


@dataclass(frozen=True)
class _Model:
    """A model's scores, prepared: what is called, the panel, and its numbers and their draws."""

    scores: npt.NDArray[np.float64]
    threshold: float
    called: npt.NDArray[np.bool_]
    panel: Panel
    values: dict[str, npt.NDArray[np.float64]]

    def interval(self, name: str, draws: Mapping[str, npt.NDArray[np.float64]]) -> Interval:
        return Interval.of(float(self.values[name][0]), draws[name])


def score_rows(rows: ScoredRows, options: ScoringOptions) -> dict[str, Any]:
    """Return the content of `scores.json`.

    One model: its metrics at the top. Several: `models` by name and `differences`, each first
    minus second over the same resamples.

    Raises
    ------
    LesionError
        All labels are of one class.
    """
    _require_two_classes(rows)
    groups, n_groups = group_codes(rows.groups, len(rows.labels))
    head = {
        "n": len(rows.labels),
        "positives": int(rows.labels.sum()),
        "policy": rows.policy,
        "min_tpr": options.min_tpr,
        "groups": {"by": rows.grouped_by, "n": n_groups},
        "bootstrap": {
            "n": options.resamples,
            "level": 0.95,
            "seed": options.seed,
            "stratified": options.stratify,
        },
        "unmatched": rows.unmatched,
        "unlabelled": rows.unlabelled,
    }
    models = {name: _prepared(rows, name, options) for name in rows.scores}
    draws = resampled(
        {name: model.panel for name, model in models.items()},
        groups,
        strata=positive_strata(rows.labels, groups) if options.stratify else None,
        n=options.resamples,
        seed=options.seed,
        watch=functools.partial(track, description="bootstrap"),
    )
    scored = {
        name: _scores_of(rows, groups, model, draws[name], options)
        for name, model in models.items()
    }
    if len(scored) == 1:
        return head | next(iter(scored.values()))
    shared = {key: head[key] for key in ("n", "positives", "policy")}
    return head | {
        "models": {name: shared | scores for name, scores in scored.items()},
        "differences": _differences(rows, groups, models, draws),
    }


def _prepared(rows: ScoredRows, name: str, options: ScoringOptions) -> _Model:
    labels, scores = rows.labels, rows.scores[name]
    threshold = options.threshold
    if threshold is None:
        threshold = threshold_for(labels, scores, SENSITIVITY)
    called = scores >= threshold
    hit, well = called.astype(np.float64), 1 - labels
    parts = {
        "sensitivity": (hit * labels, labels),
        "specificity": ((1 - hit) * well, well),
        "ppv": (hit * labels, hit),
        "npv": ((1 - hit) * well, 1 - hit),
        "called": (hit, np.ones(len(labels))),
    }
    ratios: dict[str, Ratio] = {_rate(rate): parts[rate] for rate in RATES}
    if rows.diagnoses is not None:
        ratios |= called_ratios(named_diagnoses(rows.diagnoses), called)
    panel = Panel(labels, scores, rows.patients, min_tpr=options.min_tpr, ratios=ratios)
    return _Model(scores, float(threshold), called, panel, panel.numbers())


def _scores_of(
    rows: ScoredRows,
    groups: npt.NDArray[np.int64],
    model: _Model,
    draws: Mapping[str, npt.NDArray[np.float64]],
    options: ScoringOptions,
) -> dict[str, Any]:
    """Return what `scores.json` says of one model."""
    shares = {
        name: model.interval(name, draws) for name in model.values if name.startswith("called ")
    }
    found: dict[str, Any] = {
        name: model.interval(name, draws).to_dict() for name in _metrics(model)
    } | {name: _undefined(why) for name, why in model.panel.reasons.items() if name != _CURVE}
    if not model.panel.reasons:
        line = calibration_line(rows.labels, model.scores, groups)
        found["calibration_intercept"] = line.intercept.to_dict()
        found["calibration_slope"] = line.slope.to_dict()
    found["operating_point"] = {
        "threshold": model.threshold,
        "chosen": f"finds {SENSITIVITY:.0%} of the malignant of these rows"
        if options.threshold is None
        else "given",
    } | {rate: model.interval(_rate(rate), draws).to_dict() for rate in RATES}
    found["decision_curve"] = _decision_curve(rows, model, draws)
    if rows.diagnoses is not None:
        found["diagnoses"] = diagnosis_rows(
            named_diagnoses(rows.diagnoses), rows.labels, model.scores, groups, model.called,
            shares,
        )  # fmt: skip
    return found


def _decision_curve(
    rows: ScoredRows, model: _Model, draws: Mapping[str, npt.NDArray[np.float64]]
) -> dict[str, Any]:
    if _CURVE in model.panel.reasons:
        return {"reason": model.panel.reasons[_CURVE]}
    points = [
        Interval.of(float(value[0]), drawn).to_dict()
        for value, drawn in zip(model.values[_CURVE], draws[_CURVE], strict=True)
    ]
    return {
        "threshold": list(DECISION_THRESHOLDS),
        "net_benefit": [point["value"] for point in points],
        "low": [point["low"] for point in points],
        "high": [point["high"] for point in points],
        "treat_all": treat_all(float(rows.labels.mean())).tolist(),
    }


def _differences(
    rows: ScoredRows,
    groups: npt.NDArray[np.int64],
    models: Mapping[str, _Model],
    draws: Mapping[str, Mapping[str, npt.NDArray[np.float64]]],
) -> list[dict[str, Any]]:
    """Return of each pair a minus b: each metric over the same resamples, the AUC by DeLong too."""
    scores = np.stack([model.scores for model in models.values()])
    tests = {"delong": auc_covariance(rows.labels, scores)}
    if groups.max() + 1 < len(groups):
        tests["delong_by_group"] = auc_covariance(rows.labels, scores, groups)
    found = []
    for (i, a), (j, b) in combinations(enumerate(models), 2):
        first, second = models[a], models[b]
        pair: dict[str, Any] = {"a": a, "b": b}
        for metric in _metrics(first):
            if metric in second.values:
                pair[metric] = Interval.of(
                    float(first.values[metric][0] - second.values[metric][0]),
                    draws[a][metric] - draws[b][metric],
                ).to_dict()
        for test, (areas, covariance) in tests.items():
            pair[test] = AucTest.between(areas, covariance, i, j).to_dict()
        found.append(pair)
    return found


def _metrics(model: _Model) -> list[str]:
    """Return the names of what is a score of the model, not of a threshold or a disease."""
    return [name for name in model.values if " " not in name and name != _CURVE]


def _rate(rate: str) -> str:
    return f"at threshold {rate}"


def _require_two_classes(rows: ScoredRows) -> None:
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
