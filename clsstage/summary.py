"""What a run or an evaluation says of itself: scores with intervals, and a page for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesioncore import metrics

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from clsstage.config import TrainConfig

METRICS = {
    "auc": metrics.roc_auc,
    "pauc": metrics.partial_auc,
    "average_precision": metrics.average_precision,
    "brier": metrics.brier,
    "ece": metrics.ece,
}
TITLES = {
    "auc": "AUC",
    "pauc": "partial AUC above 80 % sensitivity (0 to 0.2)",
    "average_precision": "average precision",
    "brier": "Brier score",
    "ece": "expected calibration error",
}


def score(
    labels: NDArray[np.floating],
    chances: NDArray[np.floating],
    groups: NDArray[Any] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return all scores of some predictions, each with its bootstrap interval by group.

    Parameters
    ----------
    labels : (n,) float
        1 malignant, 0 benign.
    chances : (n,) float
        Probabilities of malignancy.
    groups : (n,), optional
        Patient or lesion of each row, drawn as a whole.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        `n`, `positives`, and for each metric `value`, `low`, `high` (None where one class is
        missing).
    """
    result: dict[str, Any] = {"n": len(labels), "positives": int((labels == 1).sum())}
    for name, metric in METRICS.items():
        interval = metrics.bootstrap(metric, labels, chances, groups=groups, n=resamples, seed=seed)
        result[name] = interval.to_dict()
    return result


def score_lines(scores: dict[str, Any]) -> list[str]:
    """Return a Markdown table of scores."""
    lines = ["| score | value | 95 % interval |", "| --- | --- | --- |"]
    for name, title in TITLES.items():
        value, low, high = (scores[name][key] for key in ("value", "low", "high"))
        shown = ["none" if x is None else f"{x:.4f}" for x in (value, low, high)]
        lines.append(f"| {title} | {shown[0]} | {shown[1]} to {shown[2]} |")
    return lines


def summarise(
    config: TrainConfig,
    folder: Path,
    split: pd.DataFrame,
    held_out: pd.DataFrame,
    scores: dict[str, Any],
    masks: dict[str, Any] | None,
) -> str:
    """Return the page `summary.md` of a run, Markdown."""
    from lesioncore.splits import member_count
    from lesioncore.training import keeps_best

    roles = split["role"].value_counts()
    members = member_count(split)
    statuses = held_out["mask_status"].value_counts()
    how = (
        "Each image was scored by the member that did not train on it."
        if members > 1
        else f"The {len(held_out)} validation images were scored by the one member."
    )
    honest = (
        "The epoch was chosen on these same images, so the scores are a little too good."
        if keeps_best(config)
        else "The last epoch was kept, so the scores chose nothing."
    )
    focus = config.focus if masks else "full"
    return "\n".join(
        [
            f"# {folder.name}: a classifier of malignancy",
            "",
            "A research tool, never a diagnosis.",
            "",
            f"- data: {config.dataset}, {len(split)} labelled images in "
            f"{split['group'].nunique()} groups; {roles.get('train', 0)} to train and validate, "
            f"{roles.get('test', 0)} kept back as test images, "
            f"{roles.get('excluded', 0)} left out because they share a group with one",
            f"- malignant: policy `{scores['policy']}`, {scores['positives']} of {scores['n']} "
            "scored images",
            f"- network: {config.encoder}, metadata by `{config.fusion}`, {config.size} px, "
            f"{members} "
            f"member{'s' if members > 1 else ''} of {config.epochs} epochs",
            f"- focus: `{focus}`; masks: "
            + ", ".join(f"{count} {status}" for status, count in statuses.items()),
            "",
            f"## Scores ({scores['subset']})",
            "",
            f"{how} {honest} Intervals are bootstraps by patient or lesion.",
            "",
            *score_lines(scores),
            "",
            "The test images have not been looked at. To score them:"
            if roles.get("test", 0)
            else "No images were kept back for testing. To score others, with --subset all:",
            "",
            f"    clsstage evaluate --weights {folder} --dataset {config.dataset}"
            + (f" --root {config.root}" if config.root else "")
            + (f" --masks {config.masks}" if masks else ""),
            "",
        ]
    )
