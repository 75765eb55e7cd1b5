"""SegFormer's decoder on any encoder of segmentation-models-pytorch or timm."""

from __future__ import annotations

import segmentation_models_pytorch as smp

from segstage.models._encoders import DEFAULT_ENCODER
from segstage.models._registry import register
from segstage.models._smp import SmpSegmenter


@register("segformer")
class SegFormer(SmpSegmenter):
    """All-MLP decoder of SegFormer (Xie et al., NeurIPS 2021, arXiv 2105.15203).

    Every level of the encoder is projected, brought to 1/4 of the picture and fused by one 1x1
    convolution; the logits are scaled up linearly. The paper's own encoders are smp's ``mit_b0``
    to ``mit_b5``, whose weights come from the network; the default takes the decoder alone, on an
    encoder that has weights offline. 3.1 M parameters with the defaults, 3.0 M of them the encoder.

    Parameters
    ----------
    encoder, encoder_weights : str
        As of `segstage.models.unet.UNet`.
    segmentation_channels : int
        Channels of each projected level and of the fused map.
    """

    summary = "SegFormer's MLP decoder; mit_b0 to mit_b5, any smp encoder, tu-<timm architecture>"
    title = "SegFormer"

    def __init__(
        self,
        encoder: str = DEFAULT_ENCODER,
        encoder_weights: str = "auto",
        segmentation_channels: int = 128,
    ) -> None:
        super().__init__(
            smp.Segformer,
            encoder,
            encoder_weights,
            {"decoder_segmentation_channels": segmentation_channels},
            {"segmentation_channels": segmentation_channels},
        )
