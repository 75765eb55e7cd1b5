"""A tiny archive of synthetic lesions, and the smallest segmenters trained on it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lesioncore.phantoms import make_phantom_archive
from lesioncore.readers import create_reader
from segstage.config import TrainConfig

COUNT = 40


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms of 96 px: the working resolution of the tests is 64."""
    folder = tmp_path_factory.mktemp("phantoms")
    make_phantom_archive(folder, n=COUNT, seed=3, size=96)
    return folder


@pytest.fixture
def own_archive(archive: Path, tmp_path: Path) -> Path:
    """A copy of the archive that a test may damage."""
    return Path(shutil.copytree(archive, tmp_path / "archive"))


@pytest.fixture(scope="session")
def manifest(archive: Path) -> pd.DataFrame:
    return create_reader("phantom", archive).read()


@pytest.fixture(scope="session")
def held(manifest: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test list: the images of the first patient."""
    first = manifest["patient_id"].iloc[0]
    ids = manifest.loc[manifest["patient_id"] == first, "image_id"]
    path = tmp_path_factory.mktemp("lists") / "held.txt"
    path.write_text("\n".join(ids) + "\n")
    return path


def tiny(archive: Path, out: Path, **changes: Any) -> TrainConfig:
    """Return a config that trains in a second or two."""
    values: dict[str, Any] = {
        "dataset": "phantom",
        "root": archive,
        "out": out,
        "encoder": "tu-test_resnet",
        "encoder_weights": "none",
        "arch_options": {"decoder_channels": [16, 16, 8, 8, 8]},
        "size": 64,
        "epochs": 1,
        "batch_size": 8,
        "workers": 0,
        "device": "cpu",
    }
    return TrainConfig(**(values | changes))


@pytest.fixture(scope="session")
def run(archive: Path, held: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """The config of a finished run of two members, with a test list."""
    from segstage.train import train

    out = tmp_path_factory.mktemp("runs") / "seg"
    config = tiny(archive, out, folds=2, epochs=2, test_list=str(held))
    assert train(config) == 0
    return config


def flags(config: TrainConfig, *names: str) -> list[str]:
    """Return some fields of a config as flags of a command."""
    return [word for name in names for word in (f"--{name}", str(getattr(config, name)))]
