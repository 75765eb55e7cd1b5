"""DeepLabV3+ on encoders of segmentation-models-pytorch or timm that can be dilated."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import segmentation_models_pytorch as smp
from torch import Tensor

from lesioncore.errors import UsageError
from segstage.models._encoders import DEFAULT_ENCODER
from segstage.models._registry import register
from segstage.models._smp import SmpSegmenter

# Half of the paper's rates for 513 px: at 192 to 256 px the deepest map is 12 to 16 pixels wide,
# and a kernel that reaches further than that sees padding only.
ATROUS_RATES = (3, 6, 9)


@register("deeplabv3plus")
class DeepLabV3Plus(SmpSegmenter):
    """DeepLabV3+ (Chen et al., ECCV 2018, arXiv 1802.02611) with separable convolutions.

    3.3 M parameters with the defaults, 3.0 M of them the encoder. The encoder's last stage is
    dilated to an output stride of 16; architectures that cannot be (Swin, say) are refused.

    Parameters
    ----------
    encoder, encoder_weights : str
        As of `segstage.models.unet.UNet`.
    decoder_channels : int
        Channels of the pyramid of dilated convolutions and of the decoder.
    atrous_rates : sequence of three int
        Dilations of the pyramid, in pixels of the deepest map (1/16 of the picture).
    """

    summary = "DeepLabV3+; smp encoders and tu-<timm architectures> that can be dilated"
    title = "DeepLabV3+"

    def __init__(
        self,
        encoder: str = DEFAULT_ENCODER,
        encoder_weights: str = "auto",
        decoder_channels: int = 128,
        atrous_rates: Sequence[int] = ATROUS_RATES,
    ) -> None:
        rates = [int(rate) for rate in atrous_rates]
        if len(rates) != 3 or min(rates) < 1:
            raise UsageError(f"atrous_rates is {rates}", wanted="three numbers from 1")
        super().__init__(
            smp.DeepLabV3Plus,
            encoder,
            encoder_weights,
            {"decoder_channels": decoder_channels, "decoder_atrous_rates": rates},
            {"decoder_channels": decoder_channels, "atrous_rates": rates},
        )

    def loss(
        self, images: Tensor, truth: Tensor, criterion: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Return the criterion of a batch of at least two images, see `Segmenter.loss`."""
        if self.training and len(images) < 2:
            # Its branch of global averages normalises one value a channel and image.
            raise UsageError(
                "deeplabv3plus cannot learn from a batch of one image",
                wanted="two images or more a step",
                mend="--batch-size 2 or more",
            )
        return super().loss(images, truth, criterion)
