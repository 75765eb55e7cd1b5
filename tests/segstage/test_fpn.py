"""FPN: the family's tests."""

from __future__ import annotations

import pytest

from lesioncore.errors import UsageError
from segstage.models import create_segmenter
from tests.segstage.family import SegmenterFamily


class TestFPN(SegmenterFamily):
    name = "fpn"
    options = {  # noqa: RUF012
        "encoder": "tu-test_resnet",
        "encoder_weights": "none",
        "pyramid_channels": 16,
        "segmentation_channels": 32,
    }


def test_channels_that_its_normalisation_cannot_divide_are_refused() -> None:
    with pytest.raises(UsageError, match="segmentation_channels is 48"):
        create_segmenter("fpn", encoder_weights="none", segmentation_channels=48)
