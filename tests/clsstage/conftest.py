"""A tiny archive of synthetic lesions, its masks as a cache, and the smallest networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from clsstage.config import TrainConfig
from lesioncore.cache import MaskCache, MaskCacheWriter, MaskEntry
from lesioncore.images import image_sha256, read_mask
from lesioncore.phantoms import make_phantom_archive
from lesioncore.readers import create_reader

COUNT = 48
FINGERPRINT = {"segmenter": {"arch": "truth", "weights_sha256": []}, "preprocessing": {"size": 64}}


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    make_phantom_archive(folder, n=COUNT, seed=3, size=64)
    return folder


@pytest.fixture(scope="session")
def manifest(archive: Path) -> pd.DataFrame:
    return create_reader("phantom", archive).read()


def write_cache(folder: Path, manifest: pd.DataFrame, **changes: Any) -> Path:
    """Write the true masks of a manifest as a cache; `changes` go into every entry."""
    with MaskCacheWriter(folder, FINGERPRINT, encoding="bin1") as writer:
        for row in manifest.itertuples():
            entry = MaskEntry.from_mask(
                image_id=row.image_id,
                image_sha256=image_sha256(row.image),
                mask=read_mask(row.mask),
                member="0",
                in_sample=False,
            )
            writer.add(replace(entry, **changes))
        writer.complete()
    return folder


@pytest.fixture(scope="session")
def masks(archive: Path, manifest: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cache(tmp_path_factory.mktemp("masks") / "cache", manifest)


@pytest.fixture(scope="session")
def cache(masks: Path) -> MaskCache:
    return MaskCache(masks)


def tiny(archive: Path, out: Path, **changes: Any) -> TrainConfig:
    """Return a config that trains in a second or two."""
    values: dict[str, Any] = {
        "dataset": "phantom",
        "root": archive,
        "out": out,
        "encoder": "test_resnet",
        "encoder_weights": "none",
        "size": 32,
        "epochs": 2,
        "batch_size": 16,
        "workers": 0,
        "test_list": "none",
        "device": "cpu",
    }
    return TrainConfig(**values | changes)


def of_run(run: TrainConfig, out: Path) -> dict[str, Any]:
    """Return the options by which a command uses a finished run on its own archive."""
    return {
        "dataset": "phantom",
        "root": run.root,
        "weights": run.out,
        "masks": run.masks,
        "out": out,
        "workers": 0,
        "device": "cpu",
    }


@pytest.fixture(scope="session")
def two_folds(archive: Path, masks: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A finished run of two members on the default focus; its config."""
    from clsstage.train import train

    config = tiny(archive, tmp_path_factory.mktemp("runs") / "cls", masks=masks, folds=2)
    train(config)
    return config
