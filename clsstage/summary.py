"""`summary.md` of a run: what was trained on what, how well it does, what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lesioncore.archives import archive_names
from lesioncore.calibration.text import statement
from lesioncore.metrics import score_table
from lesioncore.splits import member_count
from lesioncore.training import keeps_best

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from clsstage.config import TrainConfig
    from lesioncore.calibration import Calibration


def summary(
    config: TrainConfig,
    folder: Path,
    split: pd.DataFrame,
    held_out: pd.DataFrame,
    scores: dict[str, Any],
    masks: dict[str, Any] | None,
    calibration: Calibration,
) -> str:
    """Return the page `summary.md` of a run, Markdown."""
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
            f"- data: {' and '.join(archive_names(config))}, {len(split)} labelled images in "
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
            "## Scores of validation images",
            "",
            f"{how} {honest} Intervals are bootstraps by patient or lesion.",
            "",
            *score_table(scores),
            "",
            "## What its probabilities mean",
            "",
            "The scores above are the network's own. Predictions go through `calibration.json`:",
            "",
            *(f"- {line}" for line in statement(calibration)),
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
