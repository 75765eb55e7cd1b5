"""DeepLabV3+: the family's tests, dilation, and batches of one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lesioncore.errors import UsageError
from segstage.models import create_segmenter
from tests.segstage.family import SegmenterFamily

TINY: dict[str, Any] = {
    "encoder": "tu-test_resnet",
    "encoder_weights": "none",
    "decoder_channels": 16,
}


class TestDeepLabV3Plus(SegmenterFamily):
    name = "deeplabv3plus"
    options = TINY


def test_the_encoder_is_dilated_to_a_sixteenth() -> None:
    segmenter = create_segmenter("deeplabv3plus", **TINY).eval()
    with torch.inference_mode():
        assert segmenter.encoder(torch.zeros(1, 3, 64, 64))[-1].shape[-2:] == (4, 4)


def test_an_encoder_that_cannot_be_dilated_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no DeepLabV3\+ can be built"):
        create_segmenter(
            "deeplabv3plus", encoder="tu-swin_tiny_patch4_window7_224", encoder_weights="none"
        )


def test_rates_are_three() -> None:
    with pytest.raises(UsageError, match="atrous_rates"):
        create_segmenter("deeplabv3plus", **TINY, atrous_rates=[1, 2])


def test_a_batch_of_one_is_refused_in_words() -> None:
    segmenter = create_segmenter("deeplabv3plus", **TINY).train()
    with pytest.raises(UsageError, match="batch of one"):
        segmenter.loss(torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 64, 64), torch.sub)
