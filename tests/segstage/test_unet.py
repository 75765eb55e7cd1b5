"""The U-Net: the family's tests, and its encoders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lesioncore.errors import LesionError, UsageError
from segstage.models import create_segmenter
from tests.segstage.family import SegmenterFamily


class TestUNet(SegmenterFamily):
    name = "unet"
    options = {  # noqa: RUF012
        "encoder": "tu-test_resnet",
        "encoder_weights": "none",
        "decoder_channels": [16, 16, 8, 8, 8],
    }


def test_an_unknown_segmenter_lists_the_known() -> None:
    with pytest.raises(UsageError, match=r"one of: .*unet"):
        create_segmenter("unnet")


def test_an_unknown_encoder_lists_the_known() -> None:
    with pytest.raises(
        UsageError, match=r"(?s)resnet34.*or tu-<any architecture of timm>"
    ) as error:
        create_segmenter("unet", encoder="tu-tf_efficientnet_lite9")
    assert "tu-tf_efficientnet_lite0" in str(error.value)


def test_a_timm_name_without_its_prefix_is_explained() -> None:
    with pytest.raises(UsageError, match="--encoder tu-test_resnet"):
        create_segmenter("unet", encoder="test_resnet")


def test_an_encoder_without_a_pyramid_is_refused() -> None:
    with pytest.raises(UsageError, match="no U-Net can be built"):
        create_segmenter("unet", encoder="tu-test_vit", encoder_weights="none")


@pytest.mark.parametrize("encoder", ["tu-test_convnext", "mobilenet_v2", "tu-test_efficientnet"])
def test_any_encoder_of_smp_and_timm(encoder: str) -> None:
    segmenter = create_segmenter(
        "unet", encoder=encoder, encoder_weights="none", decoder_channels=[8, 8, 8, 8, 8]
    )
    with torch.inference_mode():
        assert segmenter.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 1, 64, 64)
    assert segmenter.encoder_parameters()


def test_encoder_weights_from_a_local_file(tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(1)
    whole = timm.create_model("test_resnet", pretrained=False)
    file = tmp_path / "encoder.safetensors"
    save_file(whole.state_dict(), str(file))
    segmenter = create_segmenter("unet", encoder="tu-test_resnet", encoder_weights=str(file))
    stem = segmenter.network.encoder.model.state_dict()
    assert torch.equal(stem["conv1.0.weight"], whole.state_dict()["conv1.0.weight"])
    assert segmenter.origin["source"] == "file:encoder.safetensors"
    with pytest.raises(LesionError, match="wrong weights"):
        create_segmenter("unet", encoder="tu-test_convnext", encoder_weights=str(file))
    with pytest.raises(LesionError, match="no such encoder weights"):
        create_segmenter("unet", encoder="tu-test_resnet", encoder_weights=str(tmp_path / "none"))


def test_offline_weights_are_there_for_lite0_only() -> None:
    with pytest.raises(LesionError, match="no offline package"):
        create_segmenter("unet", encoder="tu-test_resnet", encoder_weights="offline")
    with pytest.raises(LesionError, match="no offline package"):
        create_segmenter("unet", encoder="resnet18", encoder_weights="offline")
