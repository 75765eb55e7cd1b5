"""U-Net on any encoder of segmentation-models-pytorch or timm (names that start with ``tu-``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import segmentation_models_pytorch as smp
from torch import Tensor, nn

from lesioncore.errors import UsageError
from segstage.models._encoders import DEFAULT_ENCODER, check_encoder, load_encoder
from segstage.models._registry import Segmenter, register

# Half of the channels that smp gives by default: a third faster to train on CPUs.
DECODER_CHANNELS = (128, 64, 32, 16, 16)


@register("unet")
class UNet(Segmenter):
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

    summary = "U-Net, Dice + BCE; any smp encoder or tu-<timm architecture>"

    def __init__(
        self,
        encoder: str = DEFAULT_ENCODER,
        encoder_weights: str = "auto",
        decoder_channels: Sequence[int] = DECODER_CHANNELS,
    ) -> None:
        super().__init__()
        check_encoder(encoder)
        channels = [int(count) for count in decoder_channels]
        try:
            self.network: nn.Module = smp.Unet(
                encoder,
                encoder_weights=None,
                encoder_depth=len(channels),
                decoder_channels=channels,
            )
        except (ValueError, RuntimeError, KeyError, AttributeError, TypeError) as error:
            # smp and timm say in many ways that an architecture gives no feature pyramid.
            raise UsageError(
                f"no U-Net can be built on encoder {encoder!r}: {error}",
                wanted="an encoder with feature maps at several scales",
                mend=f"--encoder {DEFAULT_ENCODER}",
            ) from error
        mean, std, origin = load_encoder(self._encoder, encoder, encoder_weights)
        self.describe({"encoder": encoder, "decoder_channels": channels}, mean, std, origin)

    @property
    def _encoder(self) -> Any:
        return self.network.encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, 1, H, W) of images (B, 3, H, W); H and W multiples of 32."""
        return self.network(images)  # type: ignore[no-any-return]

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return the encoder's parameters."""
        return list(self._encoder.parameters())
