"""U-Net on any encoder of segmentation-models-pytorch or timm (names that start with ``tu-``)."""

from __future__ import annotations

from collections.abc import Sequence

import segmentation_models_pytorch as smp

from segstage.models._encoders import DEFAULT_ENCODER
from segstage.models._registry import register
from segstage.models._smp import SmpSegmenter

# Half of the channels that smp gives by default: a third faster to train on CPUs.
DECODER_CHANNELS = (128, 64, 32, 16, 16)


@register("unet")
class UNet(SmpSegmenter):
    """U-Net (Ronneberger, Fischer and Brox, MICCAI 2015) with a pretrained encoder.

    Parameters
    ----------
    encoder : str
        An encoder of smp ("resnet34") or "tu-" and a timm architecture ("tu-convnext_tiny").
    encoder_weights : str
        See `weights.imagenet.load_imagenet`.
    decoder_channels : sequence of int
        Channels of the decoder's stages, from the deepest; as many as the encoder has depths.
    """

    summary = "U-Net; any smp encoder or tu-<timm architecture>"
    title = "U-Net"

    def __init__(
        self,
        encoder: str = DEFAULT_ENCODER,
        encoder_weights: str = "auto",
        decoder_channels: Sequence[int] = DECODER_CHANNELS,
    ) -> None:
        channels = [int(count) for count in decoder_channels]
        super().__init__(
            smp.Unet,
            encoder,
            encoder_weights,
            {"encoder_depth": len(channels), "decoder_channels": channels},
            {"decoder_channels": channels},
        )
