"""`lesion report`: one self-contained page that tells what a run is worth, and what it is not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lesioncore.files import write_text
from lesioncore.metrics import MASK_METRICS, TITLES, reliability_curve, roc_curve
from lesioncore.metrics.bootstrap import Interval
from lesioncore.progress import log
from lesioncore.runs import now, tool_version
from pipelines import report_figures as figures
from pipelines.report_data import ReportData, read_run
from pipelines.report_overlays import overlay_groups
from pipelines.report_text import (
    CARDS,
    LIMITS,
    MALIGNANCY_SCORES,
    STATUS_MEANINGS,
    data_section,
    duration,
    settings_sections,
)
from pipelines.subgroups import MINIMUM, MINIMUM_CLASS, Cell, SubgroupRow, subgroup_table

if TYPE_CHECKING:
    from pipelines.config import ReportConfig

REPORT_VERSION = 1


def report(config: ReportConfig) -> None:
    """Write the report of a run (`lesion report`).

    Raises
    ------
    LesionError
        `config.run` is no finished run, or the page cannot be written.
    """
    target = config.out or config.run / "report.html"
    write_report(config.run, target, tiles=config.tiles)
    print(target)


def write_report(folder: Path, target: Path, *, tiles: int = 12) -> None:
    """Write the page of the run in `folder` to `target`, with `tiles` of its worst masks."""
    data = read_run(folder)
    write_text(target, render(data, tiles=tiles))
    log.info("wrote %s (%.1f MiB)", target, target.stat().st_size / 2**20)


def render(data: ReportData, *, tiles: int = 12, draws: int = 1000) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    data : ReportData
    tiles : int
        How many of the worst masks to show; two further groups show half as many each.
    draws : int
        Bootstrap draws of the subgroup intervals.
    """
    from jinja2 import Environment, PackageLoader, select_autoescape

    environment = Environment(
        loader=PackageLoader("pipelines"), autoescape=select_autoescape(["html", "j2"])
    )
    environment.filters["figure"] = _number
    environment.filters["count"] = lambda value: f"{value:,}"
    return environment.get_template("report.html.j2").render(**_context(data, tiles, draws))


def _context(data: ReportData, tiles: int, draws: int) -> dict[str, Any]:
    scored = {name: interval_of(value) for name, value in data.scores.items() if _is(value)}
    test = data.images[data.images["subset"] == data.subset]
    masks = _masks(data, test, scored)
    malignancy = _malignancy(data, test, scored)
    blocks = subgroup_table(test, n=draws) if len(test) else []
    overlays = overlay_groups(data, tiles)
    contents = [
        ("data", "Data"),
        *([("masks", "Masks")] if masks else []),
        *([("malignancy", "Malignancy")] if malignancy else []),
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
        "minimum": MINIMUM,
        "minimum_class": MINIMUM_CLASS,
        **_subgroups(blocks),
        "overlays": overlays,
        "curves": _learning(data),
        "steps": [
            {"name": step["name"], "took": duration(step.get("seconds")),
             "result": step.get("result", "")}
            for step in data.steps
        ],
        "total_time": duration(sum(float(step.get("seconds") or 0) for step in data.steps)),
        "subset_name": "test list" if data.subset == "test" else f"{data.subset} images",
        "settings": settings_sections(data.config),
        "limits": LIMITS,
        "footer": f"Made by lesion-pipeline {tool_version()} on {now()[:10]}.",
    }  # fmt: skip


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
        found.append(f"{failed} images have no mask because reading or predicting them failed.")
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


def _malignancy(data: ReportData, test: Any, scored: dict[str, Interval]) -> dict[str, Any] | None:
    if "malignant" not in test or not test["malignant"].notna().any():
        return None
    known = test[test["malignant"].notna() & test["label"].notna()]
    labels = known["label"].to_numpy(float)
    chances = known["malignant"].to_numpy(float)
    positives = int((labels == 1).sum())
    policy = data.scores.get("policy", "target")
    both = 0 < positives < len(labels)
    lead = (
        f"Stage 2 on {len(known):,} {data.subset} images with a label, "
        f"{positives:,} of them malignant by the policy “{policy}”. Intervals resample whole "
        "groups, never single images."
    )
    roc = calibration = None
    if both:
        fpr, tpr, _ = roc_curve(labels, chances)
        roc = figures.roc_figure(
            (fpr, tpr), _short(scored.get("auc"), 3), _short(scored.get("pauc"), 4)
        )
        calibration = _calibration(labels, chances)
    else:
        lead += " There is only one class, so no ranking can be scored."
    return {
        "lead": lead,
        "roc": roc,
        "calibration": calibration,
        "scores": [
            {"name": TITLES[key], "score": scored[key], "digits": digits, "meaning": meaning}
            for key, digits, meaning in MALIGNANCY_SCORES
            if key in scored
        ],
    }


def _calibration(labels: Any, chances: Any) -> str:
    curve = reliability_curve(labels, chances, bins=10)
    low, high = wilson(curve.observed, curve.count)
    return figures.calibration_figure(
        curve.predicted, curve.observed, low, high, curve.count, chances
    )


def wilson(rate: Any, count: Any, z: float = 1.959964) -> tuple[Any, Any]:
    """Return the Wilson score interval of a rate (k,) seen on `count` (k,) images."""
    middle = (rate + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(rate * (1 - rate) / count + (z / (2 * count)) ** 2)
    # Rounding must not put the rate itself outside its interval.
    return np.minimum(middle - half, rate), np.maximum(middle + half, rate)


def _subgroups(blocks: Sequence[tuple[str, list[SubgroupRow]]]) -> dict[str, Any]:
    scales = {name: _scale(blocks, name) for name in ("dice", "auc")}

    def cell(row: SubgroupRow, name: str) -> dict[str, Any]:
        one: Cell = getattr(row, name)
        low, high = scales[name]
        if one.score is None:
            return {"claim": False, "why": one.why}

        def place(value: float) -> float:
            return round(100 * min(max((value - low) / (high - low), 0), 1), 1)

        whole = getattr(blocks[0][1][0], name).score
        ends = [one.score.value if math.isnan(x) else x for x in (one.score.low, one.score.high)]
        return {
            "claim": True, "score": one.score, "at": place(one.score.value),
            "from": place(ends[0]), "to": place(ends[1]),
            "reference": place(whole.value) if whole is not None else None,
        }  # fmt: skip

    table = [
        {
            "name": name,
            "rows": [
                {"name": row.name, "n": row.n, "malignant": row.malignant,
                 "dice": cell(row, "dice"), "auc": cell(row, "auc")}
                for row in rows
            ],
        }
        for name, rows in blocks
    ]  # fmt: skip
    shown = {name: (f"{low:.1f}", f"{high:.1f}") for name, (low, high) in scales.items()}
    return {"subgroups": table, "scales": shown}


def _scale(blocks: Sequence[tuple[str, list[SubgroupRow]]], name: str) -> tuple[float, float]:
    cells = [getattr(row, name).score for _, rows in blocks for row in rows]
    lows = [min(x for x in (c.low, c.value) if not math.isnan(x)) for c in cells if c is not None]
    return (math.floor(min(lows, default=0.5) * 10) / 10, 1.0)


def _learning(data: ReportData) -> list[dict[str, str]]:
    names = {"segmentation": "Stage 1", "classification": "Stage 2"}
    return [
        {
            "figure": figures.learning_figure(members, score, f"learning-{stage}"),
            "caption": f"{names[stage]}: validation {score} by epoch, one line a member.",
        }
        for stage, (score, members) in data.curves.items()
    ]


def interval_of(value: dict[str, Any]) -> Interval:
    """Return `{"value", "low", "high"}` of scores.json as an interval; null is NaN."""
    numbers = [float("nan") if value.get(k) is None else float(value[k]) for k in _KEYS]
    return Interval(*numbers)


_KEYS = ("value", "low", "high")


def _is(value: Any) -> bool:
    return isinstance(value, dict) and "value" in value


def _number(value: float, digits: int = 3) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _short(score: Interval | None, digits: int) -> str:
    return "–" if score is None else _number(score.value, digits)
