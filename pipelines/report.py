"""`lesion report`: one self-contained page that tells what scores are worth, and what not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lesioncore.files import write_text
from lesioncore.metrics import MASK_METRICS, TITLES, Interval
from lesioncore.progress import log
from lesioncore.runs import now, tool_version
from pipelines import report_figures as figures
from pipelines.report_data import ReportData, read_run
from pipelines.report_headlines import operating_words
from pipelines.report_malignancy import malignancy_section
from pipelines.report_overlays import overlay_groups
from pipelines.report_page import interval_of, page, subgroup_context
from pipelines.report_predictions import write_prediction_report
from pipelines.report_text import (
    CARDS,
    LIMITS,
    STATUS_MEANINGS,
    data_section,
    duration,
    settings_sections,
)
from pipelines.scoring import score_rows
from pipelines.scoring_config import ScoringOptions
from pipelines.scoring_table import ScoredRows
from pipelines.subgroups import subgroup_table

if TYPE_CHECKING:
    from pipelines.report_config import ReportConfig

REPORT_VERSION = 2


def report(config: ReportConfig) -> None:
    """Write the report of a run or of a table of predictions (`lesion report`).

    Raises
    ------
    LesionError
        `config.run` is no finished run, the predictions cannot be scored, or the page cannot be
        written.
    """
    if config.run is None:
        target = config.out or Path("report.html")
        write_prediction_report(config, target)
    else:
        target = config.out or config.run / "report.html"
        write_report(config.run, target, tiles=config.tiles, title=config.title)
    print(target)


def write_report(folder: Path, target: Path, *, tiles: int = 12, title: str | None = None) -> None:
    """Write the page of the run in `folder` to `target`, with `tiles` of its worst masks."""
    data = read_run(folder)
    write_text(target, render(data, tiles=tiles, title=title))
    log.info("wrote %s (%.1f MiB)", target, target.stat().st_size / 2**20)


def render(
    data: ReportData, *, tiles: int = 12, draws: int = 1000, title: str | None = None
) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    data : ReportData
    tiles : int
        How many of the worst masks to show; two further groups show half as many each.
    draws : int
        Bootstrap draws of the intervals that the run did not write.
    title : str, optional
        In place of the run's name.
    """
    context = _context(data, tiles, draws)
    return page("report.html.j2", context | ({"title": title} if title else {}))


def _context(data: ReportData, tiles: int, draws: int) -> dict[str, Any]:
    scored = {name: interval_of(value) for name, value in data.scores.items() if _is(value)}
    test = data.images[data.images["subset"] == data.subset]
    masks = _masks(data, test, scored)
    malignancy = _malignancy(data, test, draws)
    blocks = subgroup_table(test, n=draws) if len(test) else []
    overlays = overlay_groups(data, tiles)
    contents = [
        ("data", "Data"),
        *([("masks", "Masks")] if masks else []),
        *([("malignancy", "Malignancy")] if malignancy else []),
        *([("patients", "Patient by patient")] if malignancy and malignancy["patients"] else []),
        *([("subgroups", "Subgroups")] if blocks else []),
        *([("overlays", "Overlays")] if overlays else []),
        ("making", "How it was made"),
        ("limits", "What this does not show"),
    ]
    dataset = str(data.config.get("dataset", ""))
    return {
        "title": data.title,
        "meta": [f"Data set {dataset}", f"{len(data.images):,} images", f"made {now()[:10]}",
                 f"lesion-pipeline {tool_version()}"],
        "opening": _opening(data, test),
        "synthetic": data.synthetic,
        "warnings": _warnings(data, test),
        "contents": contents,
        "cards": [
            {"name": name, "score": scored.get(key), "digits": digits, "what": what}
            for key, name, digits, what in CARDS if key in scored or key in ("dice", "auc")
        ],
        "data": data_section(data),
        "masks": masks,
        "malignancy": malignancy,
        "point": malignancy["point"] if malignancy else None,
        **(subgroup_context(blocks) if blocks else {}),
        "overlays": overlays,
        "curves": _learning(data),
        "steps": [
            {"name": step["name"], "took": duration(step.get("seconds")),
             "result": step.get("result", "")}
            for step in data.steps
        ],
        "total_time": duration(sum(float(step.get("seconds") or 0) for step in data.steps)),
        "where": "test list" if data.subset == "test" else f"{data.subset} images",
        "settings": settings_sections(data.config),
        "limits": LIMITS,
        "footer": f"Made by lesion-pipeline {tool_version()} on {now()[:10]}.",
    }  # fmt: skip


def _opening(data: ReportData, test: Any) -> str:
    learnt = int((data.images["subset"] == "train").sum())
    parts = []
    if data.statuses:
        parts.append("to outline the lesion")
    if "malignant" in test and test["malignant"].notna().any():
        parts.append("to say how likely it is malignant")
    unseen = "that it had never seen" if data.subset == "test" else "that it checked itself on"
    return (
        f"A computer learned from {learnt:,} photographs of skin lesions {' and '.join(parts)}. "
        f"This page tells how well it does on {len(test):,} others {unseen}."
    )


def _warnings(data: ReportData, test: Any) -> list[str]:
    found = []
    limit = data.config.get("limit")
    if limit:
        found.append(f"A trial: --limit {limit} kept the run to its first {limit} images.")
    if data.subset != "test":
        found.append(
            "No test list was kept back: the scores are those of validation images, on which "
            "choices may have been made. Expect less on new images."
        )
    failed = data.statuses.get("failed", 0)
    if failed:
        are = "image has" if failed == 1 else "images have"
        found.append(f"{failed} {are} no mask because reading or predicting failed.")
    return found


def _masks(data: ReportData, test: Any, scored: dict[str, Interval]) -> dict[str, Any] | None:
    if not data.statuses:
        return None
    dice = test["dice"].dropna().to_numpy(float) if "dice" in test else np.empty(0)
    total = sum(data.statuses.values())
    lead = f"Stage 1 cached {total:,} masks. "
    if len(dice):
        bad = int((test["jaccard"].dropna() < 0.65).sum())
        lead += (
            f"Of the {len(dice):,} {data.subset} images with a true mask, "
            f"{bad:,} ({bad / len(dice):.0%}) fall below a Jaccard of 0.65, which the ISIC 2018 "
            "rule counts as a failure. "
            "Masks of training images are out-of-fold: no member drew a mask that it had learnt "
            "from."
        )
    else:
        lead += "None of the scored images has a true mask, so the masks are shown and not scored."
    order = ["ok", "empty", "failed", "edited"]
    return {
        "lead": lead,
        "figure": figures.dice_histogram(dice) if len(dice) else None,
        "scores": [
            {"name": TITLES[key], "score": scored[key]} for key in MASK_METRICS if key in scored
        ],
        "statuses": [
            {"name": name, "n": data.statuses[name], "meaning": STATUS_MEANINGS.get(name, "")}
            for name in sorted(data.statuses, key=lambda s: order.index(s) if s in order else 9)
        ],
    }


def _malignancy(data: ReportData, test: Any, draws: int) -> dict[str, Any] | None:
    if "malignant" not in test or not test["malignant"].notna().any():
        return None
    known = test[test["malignant"].notna() & test["label"].notna()].reset_index(drop=True)
    labels = known["label"].to_numpy(float)
    positives = int((labels == 1).sum())
    policy = str(data.scores.get("policy", "target"))
    lead = (
        f"Stage 2 on {len(known):,} {data.subset} images with a label, "
        f"{positives:,} of them malignant by the policy “{policy}”. Intervals resample whole "
        "groups, never single images."
    )
    if not 0 < positives < len(labels):
        lead += " There is only one class, so no ranking can be scored."
        return {"lead": lead, "patients": None, "m": None, "point": None}
    patients = known.get("patient_id")
    rows = ScoredRows(
        labels=labels,
        scores={"": known["malignant"].to_numpy(float)},
        groups=known["group"].to_numpy(),
        grouped_by="group",
        patients=patients.to_numpy() if patients is not None and patients.notna().all() else None,
        policy=policy,
        unmatched={},
        unlabelled=0,
        diagnoses=known["diagnosis"].to_numpy(object)
        if "diagnosis" in known and known["diagnosis"].notna().any()
        else None,
        about=known[["image_id"]],
    )
    # What the run wrote is shown as it wrote it; the rest is computed here.
    written = {name: value for name, value in data.scores.items() if _is(value)}
    result = score_rows(rows, ScoringOptions(resamples=draws)) | written
    section = malignancy_section(rows, result)
    point = operating_words(result["operating_point"], positives / len(labels))
    return {"lead": lead, "patients": section["patients"], "m": section, "point": point}


def _learning(data: ReportData) -> list[dict[str, str]]:
    names = {"segmentation": "Stage 1", "classification": "Stage 2"}
    return [
        {
            "figure": figures.learning_figure(members, score, f"learning-{stage}"),
            "caption": f"{names[stage]}: validation {score} by epoch, one line a member.",
        }
        for stage, (score, members) in data.curves.items()
    ]


def _is(value: Any) -> bool:
    return isinstance(value, dict) and "value" in value
