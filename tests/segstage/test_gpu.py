"""On a GPU: both precisions train, and half the bits give nearly the same masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesioncore.images import read_image
from lesioncore.metrics import dice
from segstage.config import TrainConfig
from segstage.predictor import LesionSegmenter
from segstage.train import train
from tests.segstage.conftest import tiny

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu")]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_on_a_gpu(archive: Path, tmp_path: Path, precision: str) -> None:
    config = tiny(archive, tmp_path / "seg", device="cuda", precision=precision)
    assert train(config) == 0
    assert (config.out / "summary.md").is_file()


def test_precisions_and_devices_agree(run: TrainConfig, manifest: pd.DataFrame) -> None:
    images = [read_image(path) for path in manifest["image"].head(8)]
    found = {
        (device, precision): LesionSegmenter.load(run.out, device, precision).predict_batch(images)
        for device, precision in (("cpu", "fp32"), ("cuda", "fp32"), ("cuda", "bf16"))
    }
    for here, there, apart in zip(*found.values(), strict=True):
        assert dice(here.mask(), there.mask()) > 0.99
        assert dice(there.mask(), apart.mask()) > 0.95
        assert here.score == pytest.approx(apart.score, abs=0.02)
    payloads = np.stack([entry.payload for entry in found["cpu", "fp32"]])
    assert payloads.max() > 0
