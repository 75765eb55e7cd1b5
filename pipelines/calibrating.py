"""`lesion calibrate`: what scores mean where the truth is known, and where to flag."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lesioncore.calibration import (
    CALIBRATION_FILE,
    Calibration,
    fit_calibration,
    write_calibration,
)
from lesioncore.calibration.fitting import compare
from lesioncore.calibration.record import calibration_in
from lesioncore.calibration.text import evidence_lines, score_lines, statement
from lesioncore.errors import UsageError
from lesioncore.files import read_table
from lesioncore.metrics.checks import FloatArray
from lesioncore.progress import log
from lesioncore.runs import Run
from pipelines.calibrate_config import CalibrateConfig
from pipelines.pipeline import NOTICE
from pipelines.scoring_config import EvaluateConfig
from pipelines.scoring_table import ScoredRows, scored_rows

_RAW = "malignant_raw"


def calibrate(config: CalibrateConfig) -> int:
    """Write a calibration, and print what it does to cases that were held out from it.

    Raises
    ------
    LesionError
        As `scored_rows`; scores that are no probabilities; a run without held-out scores.
    UsageError
        A calibration is there that nobody asked to replace.
    """
    run = None if config.run is None else _run(config.run)
    out = run.path(CALIBRATION_FILE) if config.in_run and run else config.out
    out = out or Path(CALIBRATION_FILE)
    _refuse_overwriting(out, config)
    own: list[str] = []
    if config.predictions is None and run is not None:
        from clsstage.calibration import calibrate_run

        fitted = calibrate_run(
            run,
            config.method,
            sensitivity=config.sensitivity,
            alpha=config.alpha,
            resamples=config.resamples,
            seed=config.seed,
        )
    else:
        fitted, own = _on_predictions(config, run)
    fitted = fitted.at(config.prevalence)
    write_calibration(out, fitted)
    lines = [*statement(fitted), "", *evidence_lines(fitted), *own, "", f"{NOTICE.capitalize()}."]
    print("\n".join(lines))
    log.info("calibration: %s", out)
    if not config.in_run:
        log.info("to use it: lesion predict (or clsstage predict) ... --calibration %s", out)
    return 0


def _run(folder: Path) -> Run:
    """Return the run of stage 2 that a folder is, or holds."""
    inner = folder / "classification"
    return Run.load(inner if (inner / "run.json").is_file() else folder, "clsstage")


def _refuse_overwriting(out: Path, config: CalibrateConfig) -> None:
    belongs = any((out.parent / name).is_file() for name in ("run.json", "card.json"))
    if out.is_file() and belongs and not config.replace:
        raise UsageError(
            f"{out} is there: predictions of {out.parent} use it",
            wanted="another --out, or to be asked to overwrite it",
            mend="--replace",
        )


def _on_predictions(config: CalibrateConfig, run: Run | None) -> tuple[Calibration, list[str]]:
    """Return the calibration of a table, and how the run's own one does on it, as lines."""
    assert config.predictions is not None
    column, model = _of_file(config)
    rows = scored_rows(
        EvaluateConfig(
            predictions=config.predictions,
            labels=config.labels,
            id_column=config.id_column,
            score_column=None if column is None else [column],
            label_column=config.label_column,
            policy=config.policy,
            source=config.source,
            group_column=config.group_column,
            max_failed=config.max_failed,
        )
    )
    (name, scores), *_ = rows.scores.items()
    log.info("%d cases, scores from the column %s", len(scores), name)
    if rows.grouped_by == "row":
        log.warning(
            "no patient or lesion is known: every row counts as a case of its own, and intervals "
            "are too narrow where a patient has several (--group-column)"
        )
    fitted = fit_calibration(
        rows.labels,
        scores,
        rows.groups,
        name=config.name or (config.labels or config.predictions).stem,
        model=model or (run.folder.resolve().name if run else ""),
        policy=rows.policy,
        grouped_by=rows.grouped_by,
        method=config.method,
        sensitivity=config.sensitivity,
        alpha=config.alpha,
        resamples=config.resamples,
        seed=config.seed,
    )
    return fitted, _own_lines(rows, scores, run, config)


def _of_file(config: CalibrateConfig) -> tuple[str | None, str]:
    """Return the column of scores to use (None for the usual), and whose scores they are."""
    assert config.predictions is not None
    table = read_table(config.predictions)
    column = config.score_column
    if column is None and _RAW in table:
        column = _RAW
    elif column == "malignant" and _RAW in table:
        log.warning(
            "malignant is calibrated already: a calibration fitted on it is not for what predict "
            "gives it, which are the scores in %s",
            _RAW,
        )
    names = list(table["model"].dropna().astype(str)) if "model" in table else []
    models = sorted({name.partition("/member-")[0] for name in names})
    return column, models[0] if len(models) == 1 else ""


def _own_lines(
    rows: ScoredRows, scores: FloatArray, run: Run | None, config: CalibrateConfig
) -> list[str]:
    """Return how the calibration that the run has does on these cases, none of which it saw."""
    own = None if run is None else calibration_in(run.folder)
    if own is None:
        return []
    options: dict[str, Any] = {"resamples": config.resamples or 1000, "seed": config.seed}
    found = compare(rows.labels, scores, own.apply(scores).malignant, rows.groups, **options)
    flagged = np.asarray(own.apply(scores).flagged)
    lines = ["", "The same cases by the calibration that the run has:", *score_lines(found)]
    point = own.operating_point
    if point is not None:
        shares = [float((flagged[rows.labels == k] == k).mean()) for k in (1, 0)]
        lines.append(
            f"  its operating point, fitted for a sensitivity of {point.wanted:.0%}: sensitivity "
            f"{shares[0]:.4f}, specificity {shares[1]:.4f} here"
        )
    return lines
