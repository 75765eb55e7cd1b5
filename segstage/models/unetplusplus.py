"""U-Net++ on any encoder of segmentation-models-pytorch or timm."""

from __future__ import annotations

from collections.abc import Sequence

import segmentation_models_pytorch as smp

from segstage.models._encoders import DEFAULT_ENCODER
from segstage.models._registry import register
from segstage.models._smp import SmpSegmenter
from segstage.models.unet import DECODER_CHANNELS


@register("unetplusplus")
class UNetPlusPlus(SmpSegmenter):
    """U-Net++ (Zhou et al., DLMIA 2018, arXiv 1807.10165): nested, densely joined skip paths.

    4.0 M parameters with the defaults, 3.0 M of them the encoder. smp has no U-Net++ on ``mit_b*``.

    Parameters
    ----------
    encoder, encoder_weights : str
        As of `segstage.models.unet.UNet`.
    decoder_channels : sequence of int
        Channels of the decoder's stages, from the deepest; as many as the encoder has depths.
    """

    summary = "U-Net++, nested skip paths; any smp encoder but mit_b*, or tu-<timm architecture>"
    title = "U-Net++"

    def __init__(
        self,
        encoder: str = DEFAULT_ENCODER,
        encoder_weights: str = "auto",
        decoder_channels: Sequence[int] = DECODER_CHANNELS,
    ) -> None:
        channels = [int(count) for count in decoder_channels]
        super().__init__(
            smp.UnetPlusPlus,
            encoder,
            encoder_weights,
            {"encoder_depth": len(channels), "decoder_channels": channels},
            {"decoder_channels": channels},
        )
