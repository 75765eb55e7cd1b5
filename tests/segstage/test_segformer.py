"""SegFormer's decoder: the family's tests, and the paper's own encoder."""

from __future__ import annotations

import torch

from segstage.models import create_segmenter
from tests.segstage.family import SegmenterFamily


class TestSegFormer(SegmenterFamily):
    name = "segformer"
    options = {  # noqa: RUF012
        "encoder": "tu-test_resnet",
        "encoder_weights": "none",
        "segmentation_channels": 16,
    }


def test_on_the_paper_s_encoder() -> None:
    segmenter = create_segmenter("segformer", encoder="mit_b0", encoder_weights="none").eval()
    with torch.inference_mode():
        assert segmenter(torch.zeros(1, 3, 64, 64)).shape == (1, 1, 64, 64)
    assert segmenter.encoder_parameters()
