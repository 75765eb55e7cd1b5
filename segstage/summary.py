"""`summary.md` of a run: what was trained on what, how well it does, what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesioncore.archives import archive_names
from lesioncore.metrics import score_table
from segstage.config import TrainConfig
from segstage.models._registry import segmenter_class
from weights.card import WeightCard

if TYPE_CHECKING:
    import pandas as pd


def title(config: TrainConfig) -> str:
    """Return what a run trains, in two words: ``unet tu-tf_efficientnet_lite0``."""
    known = segmenter_class(config.arch)
    return f"{config.arch} {config.encoder}" if known.has_encoder else config.arch


def quality_text(found: dict[str, Any] | None) -> str:
    """Return what is said of the quality model, see `segstage.quality_fit.cross_validated`."""
    if not found or not found.get("n"):
        return "No quality model: too few validation masks. The quality of masks stays null."
    rank, score = found["spearman"], found["spearman_of_score"]
    return (
        "Quality (the Dice expected of a mask without a truth, `quality.json`) against Dice, rank "
        f"correlation over cross-validation: {_rank(rank)}; of the score alone: {_rank(score)}. "
        f"Mean error {found['mean_error']:.3f}."
    )


def _rank(found: dict[str, float | None]) -> str:
    if found["value"] is None or found["low"] is None:
        return "not defined"
    return f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def summary(
    folder: Path,
    config: TrainConfig,
    split: pd.DataFrame,
    scores: dict[str, Any],
    cards: list[WeightCard],
) -> str:
    """Return the text of a run's ``summary.md``."""
    roles = split["role"].value_counts().to_dict()
    table = "\n".join(score_table(scores))
    members = "\n".join(f"- member {n}: sha256 `{card.sha256}`" for n, card in enumerate(cards))
    held = ", ".join(f"{count} {role}" for role, count in roles.items())
    data = f"--dataset {config.dataset}" + (f" --root {config.root}" if config.root else "")
    archives = " and ".join(f"`{name}`" for name in archive_names(config))
    synthetic = "\n\n**The images are synthetic phantoms.**" if config.dataset == "phantom" else ""
    return f"""# Segmenter {title(config)}

Trained on {archives}: {held} images in {split["group"].nunique()} groups (patient, lesion,
duplicates). {config.folds} member(s), {config.epochs} epochs at {config.size} px, seed \
{config.seed}.{synthetic}

Validation images, each scored at its original size by the member that did not see its group; 95 %
bootstrap intervals by group. The archive's test list was not looked at.

{table}

{quality_text(scores.get("quality"))}

First weights of the encoder: {cards[0].first_weights["source"]}.

{members}

Next:

    segstage evaluate --weights {folder} {data} --out {folder}-test
    segstage cache --weights {folder} {data} --out cache

A research tool, never a diagnosis.
"""
