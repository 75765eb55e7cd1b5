"""The shipped configs are configs of `segstage train`."""

from __future__ import annotations

from pathlib import Path

import pytest

from lesioncore.flags import parse_config, preset_names
from segstage.commands import COMMANDS


@pytest.mark.parametrize("name", preset_names("segstage.presets"))
def test_each_preset_is_a_valid_config(name: str, tmp_path: Path) -> None:
    words = ["--preset", name, "--dataset", "phantom", "--out", str(tmp_path), "--epochs", "3"]
    config = parse_config("segstage train", COMMANDS["train"], words)
    assert config.epochs == 3
    assert config.dataset == "phantom"


def test_cpu_and_gpu_ship() -> None:
    assert set(preset_names("segstage.presets")) >= {"cpu", "gpu"}
