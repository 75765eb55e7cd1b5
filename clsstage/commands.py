"""The program `clsstage`."""

from __future__ import annotations

from collections.abc import Sequence

from clsstage.config import EvaluateConfig, ModelsConfig, PredictConfig, TrainConfig
from clsstage.features_config import FeaturesConfig
from lesioncore.commands import run_commands
from lesioncore.flags import Command

COMMANDS = {
    "train": Command(
        TrainConfig,
        "clsstage.train:train",
        "train a classifier of malignancy on focused images and metadata",
        presets="clsstage.presets",
    ),
    "evaluate": Command(
        EvaluateConfig, "clsstage.evaluation:evaluate", "score a classifier, with intervals"
    ),
    "predict": Command(
        PredictConfig, "clsstage.prediction:predict", "write the probabilities of an archive"
    ),
    "features": Command(
        FeaturesConfig,
        "clsstage.features:features",
        "write the features of an archive, for stacks and neighbours",
    ),
    "models": Command(ModelsConfig, "clsstage.listing:list_models", "list fusions and encoders"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` names and return its exit code."""
    return run_commands(
        "clsstage",
        "Stage 2: learn and predict malignancy from images focused by lesion masks, and metadata. "
        "A research tool, never a diagnosis.",
        COMMANDS,
        argv,
    )
