"""The page of a table of predictions, from any tool: `lesion report --predictions`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lesioncore.files import write_text
from lesioncore.metrics.bootstrap import group_codes
from lesioncore.metrics.panel import TOP
from lesioncore.progress import log
from lesioncore.runs import now, tool_version
from pipelines.report_headlines import headlines, one_in, operating_words
from pipelines.report_malignancy import malignancy_section, model_scores
from pipelines.report_page import page, subgroup_context
from pipelines.report_text import LIMITS
from pipelines.scoring import score_rows
from pipelines.scoring_config import EvaluateConfig
from pipelines.scoring_table import ScoredRows, scored_rows
from pipelines.subgroups import subgroup_table

if TYPE_CHECKING:
    from pipelines.report_config import ReportConfig

#: With fewer malignant rows a page warns that its intervals are wide and rough.
FEW = 50


def write_prediction_report(config: ReportConfig, target: Path) -> None:
    """Write the page of `config.predictions` to `target`.

    Raises
    ------
    LesionError
        As `scored_rows` and `score_rows`, or the page cannot be written.
    """
    assert config.predictions is not None
    shared = {item.name: getattr(config, item.name) for item in dataclasses.fields(EvaluateConfig)}
    scoring = EvaluateConfig(**shared | {"out": None})
    rows = scored_rows(scoring)
    write_text(target, render_predictions(rows, scoring, config.title))
    log.info("wrote %s (%.1f MiB)", target, target.stat().st_size / 2**20)


def render_predictions(rows: ScoredRows, config: EvaluateConfig, title: str | None = None) -> str:
    """Return the page of scored rows as HTML."""
    result = score_rows(rows, config)
    models = model_scores(rows, result)
    first = next(iter(models))
    prevalence = float(rows.labels.mean())
    malignancy = malignancy_section(rows, result)
    blocks = _subgroups(rows, first, config)
    contents = [
        ("scores", "Scores"),
        *([("diagnoses", "By diagnosis")] if malignancy["diagnoses"] else []),
        *([("patients", "Patient by patient")] if malignancy["patients"] else []),
        *([("subgroups", "Subgroups")] if len(blocks) > 1 else []),
        *([("comparisons", "Comparisons")] if malignancy["pairs"] else []),
        ("making", "How it was made"),
        ("limits", "What this does not show"),
    ]
    groups = result["groups"]
    context = {
        "title": title or config.predictions.stem,
        "opening": _opening(rows, first, len(models)),
        "warnings": _warnings(rows, malignancy),
        "point": operating_words(models[first]["operating_point"], prevalence),
        "cards": headlines(models[first], prevalence, _many_lesions(rows)),
        "resampled": "other lesions" if groups["by"] == "row" else "other patients",
        "contents": contents,
        "scores_lead": _lead(result, len(models)),
        "m": malignancy,
        "where": "lesions of this table",
        "settings": _settings(rows, result, config),
        "limits": LIMITS[1:],
        "footer": f"Made by lesion-pipeline {tool_version()} on {now()[:10]}.",
    }
    if len(blocks) > 1:
        context |= subgroup_context(blocks)
    return page("predictions.html.j2", context)


def _many_lesions(rows: ScoredRows) -> bool:
    if rows.patients is None:
        return False
    codes, n = group_codes(rows.patients, len(rows.patients))
    sizes = np.bincount(codes, minlength=n)
    return bool((sizes[codes[rows.labels == 1]] > TOP).mean() >= 0.5)


def _opening(rows: ScoredRows, first: str, models: int) -> str:
    positives = int(rows.labels.sum())
    of = ""
    if rows.patients is not None:
        of = f" of {len(np.unique(rows.patients.astype(str))):,} patients"
    many = models > 1
    text = (
        f"{f'{models} computer models' if many else 'A computer model'} scored "
        f"{len(rows.labels):,} photographs of skin lesions{of}. {positives:,} of the lesions "
        f"({one_in(positives / len(rows.labels))}) are known to be malignant. This page tells how "
        "far the scores agree with that."
    )
    if many:
        them = "both" if models == 2 else f"all {models}"
        text += f" The first figures are those of {first}, named first; {them} are below."
    return text


def _warnings(rows: ScoredRows, malignancy: Mapping[str, Any]) -> list[str]:
    found = []
    positives = int(rows.labels.sum())
    if min(positives, len(rows.labels) - positives) < FEW:
        kind = "malignant" if positives < len(rows.labels) - positives else "benign"
        count = min(positives, len(rows.labels) - positives)
        found.append(
            f"Only {count} {kind} lesions: the intervals are wide, and rough themselves. One "
            "lesion more or less moves these numbers."
        )
    if rows.grouped_by == "row":
        found.append(
            "The patient of a lesion is not known, so each lesion counts as a patient of its own: "
            "the intervals are too narrow where patients have several."
        )
    left = {reason: count for reason, count in rows.unmatched.items() if count}
    if left:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in left.items())
        found.append(f"Left out: {counts}. Cases that a model skips are rarely its easiest.")
    if malignancy["no_probabilities"]:
        found.append(
            f"The scores are no probabilities ({malignancy['no_probabilities']}): they rank, and "
            "say nothing of how likely malignancy is."
        )
    return found


def _lead(result: Mapping[str, Any], models: int) -> str:
    by, n = result["groups"]["by"], result["groups"]["n"]
    text = (
        f"{result['n']:,} lesions with a label, {result['positives']:,} of them malignant by the "
        f"policy “{result['policy']}”. "
    )
    text += (
        "Intervals resample lesions."
        if by == "row"
        else f"Intervals resample whole groups ({n:,} by {by}), never single images."
    )
    return text + (f" {models} models on the same lesions." if models > 1 else "")


def _subgroups(rows: ScoredRows, first: str, config: EvaluateConfig) -> list[Any]:
    about = rows.about
    if about is None or not {"age", "sex", "site"} & set(about):
        return []
    frame = about.reindex(columns=["image_id", "age", "sex", "site"]).assign(
        label=rows.labels, malignant=rows.scores[first], group=rows.groups
    )
    return subgroup_table(frame, n=config.resamples, seed=config.seed)


def _settings(
    rows: ScoredRows, result: Mapping[str, Any], config: EvaluateConfig
) -> list[dict[str, Any]]:
    files = [
        ("predictions", config.predictions.name),
        *[("against", path.name) for path in config.against or []],
        ("labels", config.labels.name if config.labels else "in the same file"),
        *[("score", name) for name in rows.scores],
        ("malignant", f"by the policy “{rows.policy}”"),
    ]
    counted = [
        ("scored", f"{len(rows.labels):,}"),
        *[(reason, f"{count:,}") for reason, count in rows.unmatched.items()],
        ("without a known label", f"{rows.unlabelled:,}"),
    ]
    bootstrap = result["bootstrap"]
    drawn = [
        ("resamples", f"{bootstrap['n']:,}, seed {bootstrap['seed']}"),
        ("drawn as a whole", f"{result['groups']['by']} ({result['groups']['n']:,})"),
        ("stratified", "yes" if bootstrap["stratified"] else "no"),
        ("interval", "percentiles 2.5 and 97.5; calibration line and AUC of a disease: normal"),
        ("made", f"{now()[:10]}, lesion-pipeline {tool_version()}"),
    ]
    return [
        {"name": "Files", "rows": files},
        {"name": "Lesions", "rows": counted},
        {"name": "Intervals", "rows": drawn},
    ]
