"""The shipped presets: valid, and as the recipes say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clsstage.commands import COMMANDS
from lesioncore.flags import parse_config, preset_names


def _config(name: str, out: Path) -> Any:
    return parse_config(
        "clsstage train",
        COMMANDS["train"],
        ["--preset", name, "--dataset", "phantom", "--out", str(out), "--seed", "3"],
    )


@pytest.mark.parametrize("name", preset_names("clsstage.presets"))
def test_each_preset_is_a_valid_config(name: str, tmp_path: Path) -> None:
    config = _config(name, tmp_path)
    assert config.seed == 3 and config.out == tmp_path


def test_isic2020_is_the_winners_recipe(tmp_path: Path) -> None:
    config = _config("isic2020", tmp_path)
    expected = {
        "batch_size": 64,
        "epochs": 15,
        "warmup_epochs": 1,
        "lr": 3e-4,
        "weight_decay": 0.0,
        "folds": 5,
        "target": "diagnosis-9",
        "loss": "cross_entropy",
        "augment": "isic2020",
        "resize": "late",
        "fusion": "concat",
        "dropout": 0.5,
        "metadata": ["auto"],
        "needs_masks": False,
    }
    assert {name: getattr(config, name) for name in expected} == expected
