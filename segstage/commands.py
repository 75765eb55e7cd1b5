"""The program `segstage`. Commands are named here and imported only when called."""

from __future__ import annotations

from collections.abc import Sequence

from lesioncore.commands import Command, run_commands
from segstage.config import (
    CacheConfig,
    EvaluateConfig,
    ImportMasksConfig,
    ModelsConfig,
    PredictConfig,
    TrainConfig,
)

COMMANDS = {
    "train": Command(
        TrainConfig,
        "segstage.train:train",
        "train a segmenter on an archive with masks",
        presets="segstage.presets",
    ),
    "evaluate": Command(
        EvaluateConfig, "segstage.evaluation:evaluate", "score masks against an archive's truth"
    ),
    "predict": Command(
        PredictConfig,
        "segstage.prediction:predict",
        "segment photographs into PNG masks",
        positional=("photos", "+"),
    ),
    "cache": Command(
        CacheConfig, "segstage.caching:cache", "segment an archive into a mask cache for stage 2"
    ),
    "import-masks": Command(
        ImportMasksConfig,
        "segstage.importing:import_masks",
        "put masks that people made into a cache",
    ),
    "models": Command(ModelsConfig, "segstage.listing:list_models", "list segmenters and encoders"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `segstage` and return its exit code."""
    return run_commands(
        "segstage",
        "Stage 1 of the lesion pipeline: learn lesion masks and cache them. A research tool, "
        "never a diagnosis.",
        COMMANDS,
        argv,
    )
