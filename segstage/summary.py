"""`summary.md` of a run: what was trained on what, how well it does, what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lesioncore.metrics import Interval
from segstage.config import TrainConfig
from weights.card import WeightCard

if TYPE_CHECKING:
    import pandas as pd


def summary(
    folder: Path,
    config: TrainConfig,
    split: pd.DataFrame,
    intervals: dict[str, Interval],
    cards: list[WeightCard],
) -> str:
    """Return the text of a run's ``summary.md``."""
    roles = split["role"].value_counts().to_dict()
    rows = "\n".join(
        f"| {name} | {value.value:.4f} | {value.low:.4f} | {value.high:.4f} |"
        for name, value in intervals.items()
    )
    members = "\n".join(f"- member {n}: sha256 `{card.sha256}`" for n, card in enumerate(cards))
    held = ", ".join(f"{count} {role}" for role, count in roles.items())
    data = f"--dataset {config.dataset}" + (f" --root {config.root}" if config.root else "")
    synthetic = "\n\n**The images are synthetic phantoms.**" if config.dataset == "phantom" else ""
    return f"""# Segmenter {config.arch} on {config.encoder}

Trained on `{config.dataset}`: {held} images in {split["group"].nunique()} groups (patient, lesion,
duplicates). {config.folds} member(s), {config.epochs} epochs at {config.size} px, seed \
{config.seed}.{synthetic}

Validation images, each scored at its original size by the member that did not see its group; 95 %
bootstrap intervals by group. The archive's test list was not looked at.

| metric | value | low | high |
|---|---|---|---|
{rows}

First weights of the encoder: {cards[0].training_data.rpartition("first weights: ")[2]}.

{members}

Next:

    segstage evaluate --weights {folder} {data} --out {folder}-test
    segstage cache --weights {folder} {data} --out cache

A research tool, never a diagnosis.
"""
