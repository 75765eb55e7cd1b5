"""Feature pyramid network on any encoder of segmentation-models-pytorch or timm."""

from __future__ import annotations

import segmentation_models_pytorch as smp

from lesioncore.errors import UsageError
from segstage.models._encoders import DEFAULT_ENCODER
from segstage.models._registry import register
from segstage.models._smp import SmpSegmenter

_GROUPS = 32


@register("fpn")
class FPN(SmpSegmenter):
    """Semantic FPN (Lin et al., arXiv 1612.03144; head of Kirillov et al., arXiv 1901.02446).

    Four levels (1/4 to 1/32) are brought to 1/4 of the picture and added; the logits are scaled
    up linearly. 3.4 M parameters with the defaults, 3.0 M of them the encoder.

    Parameters
    ----------
    encoder, encoder_weights : str
        As of `segstage.models.unet.UNet`.
    pyramid_channels : int
        Channels of the pyramid.
    segmentation_channels : int
        Channels of the head; a multiple of 32, the groups of its normalisation.
    dropout : float in [0, 1)
        Part of the head's channels that a training step leaves out.
    """

    summary = "feature pyramid network; any smp encoder or tu-<timm architecture>"
    title = "FPN"

    def __init__(
        self,
        encoder: str = DEFAULT_ENCODER,
        encoder_weights: str = "auto",
        pyramid_channels: int = 128,
        segmentation_channels: int = 64,
        dropout: float = 0.2,
    ) -> None:
        if segmentation_channels < _GROUPS or segmentation_channels % _GROUPS:
            raise UsageError(
                f"segmentation_channels is {segmentation_channels}",
                wanted=f"a multiple of {_GROUPS}",
            )
        options = {
            "pyramid_channels": pyramid_channels,
            "segmentation_channels": segmentation_channels,
            "dropout": dropout,
        }
        super().__init__(
            smp.FPN,
            encoder,
            encoder_weights,
            {f"decoder_{name}": value for name, value in options.items()},
            options,
        )
