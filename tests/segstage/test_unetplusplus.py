"""U-Net++: the family's tests."""

from __future__ import annotations

import pytest

from lesioncore.errors import UsageError
from segstage.models import create_segmenter
from tests.segstage.family import SegmenterFamily


class TestUNetPlusPlus(SegmenterFamily):
    name = "unetplusplus"
    options = {  # noqa: RUF012
        "encoder": "tu-test_resnet",
        "encoder_weights": "none",
        "decoder_channels": [16, 16, 8, 8, 8],
    }


def test_an_encoder_that_it_cannot_take_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no U-Net\+\+ can be built"):
        create_segmenter("unetplusplus", encoder="mit_b0", encoder_weights="none")
