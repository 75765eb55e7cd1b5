"""On a GPU: both precisions train, and half the bits give nearly the same probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from clsstage.predictor import LesionClassifier
from clsstage.train import train
from tests.clsstage.conftest import tiny

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu")]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_on_a_gpu(archive, masks, tmp_path, precision):
    config = tiny(archive, tmp_path / "cls", masks=masks, device="cuda", precision=precision)
    train(config)
    assert (config.out / "summary.md").is_file()


def test_precisions_and_devices_agree(two_folds, manifest, cache):
    found = {
        (device, precision): LesionClassifier.load(two_folds.out, device, precision)
        .predict_table(manifest, cache, workers=0)["malignant"]
        .to_numpy()
        for device, precision in (("cpu", "fp32"), ("cuda", "fp32"), ("cuda", "bf16"))
    }
    assert np.allclose(found["cpu", "fp32"], found["cuda", "fp32"], atol=1e-3)
    assert np.allclose(found["cuda", "fp32"], found["cuda", "bf16"], atol=0.02)
