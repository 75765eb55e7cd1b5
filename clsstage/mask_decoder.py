"""An auxiliary mask decoder: training asks the encoder for the outline too, prediction drops it.

The multi-task idea of ISIC 2024's fourth place (github.com/dungnb1333/ISIC-2024): one encoder, a
class loss and a mask loss. What the mask buys is then in the encoder's weights, and a full image
needs no mask when it is classified.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lesioncore.errors import UsageError

WIDTH = 32  # channels of the decoder: enough for one smooth outline
LEVELS = 4  # feature maps that it reads, the finest of them at a quarter of the image


class MaskDecoder(nn.Module):
    """Feature maps to one map of mask logits, in the manner of a feature pyramid.

    Parameters
    ----------
    channels : sequence of int
        Of the maps, finest first.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(count, WIDTH, 1) for count in channels)
        self.smooth = nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU()
        )
        self.head = nn.Conv2d(WIDTH, 1, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return mask logits (B, 1, h, w) at the size of the finest map."""
        size = maps[0].shape[2:]
        joined: Any = 0
        for layer, level in zip(self.lateral, maps, strict=True):
            found = layer(level)
            if found.shape[2:] != size:
                found = F.interpolate(found, size=size, mode="bilinear", align_corners=False)
            joined = joined + found
        return self.head(self.smooth(joined))  # type: ignore[no-any-return]


def mask_levels(encoder: nn.Module, side: int, channels: int) -> tuple[list[int], list[int]]:
    """Return which intermediate maps of an encoder to read, and their channels.

    Parameters
    ----------
    encoder : Module
        With timm's `forward_intermediates`.
    side, channels : int
        Of the images it gets.

    Raises
    ------
    UsageError
        The encoder gives no intermediate maps.
    """
    if not hasattr(encoder, "forward_intermediates"):
        raise UsageError(
            "--aux-mask with an encoder that gives no intermediate maps",
            wanted="an encoder with timm's forward_intermediates",
            mend="--encoder tf_efficientnet_lite0, or --aux-mask 0",
        )
    before = encoder.training
    encoder.eval()
    with torch.no_grad():
        found = encoder.forward_intermediates(  # type: ignore[operator]
            torch.zeros(1, channels, side, side), intermediates_only=True
        )
    encoder.train(before)
    usable = [i for i, level in enumerate(found) if level.shape[2] <= -(-side // 4)]
    # A transformer has many maps of one size: some of them, evenly, the last among them.
    step = max(1, len(usable) // LEVELS)
    chosen = usable[::-1][::step][:LEVELS][::-1]
    return chosen, [found[i].shape[1] for i in chosen]


def mask_loss(logits: Tensor, mask: Tensor, known: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of images whose mask is known; 0 where none is.

    Parameters
    ----------
    logits : (B, 1, h, w) float
    mask : (B, 1, H, W) float
        Probability of lesion, 0 to 1; averaged down to (h, w).
    known : (B,) bool
    """
    if not bool(known.any()):
        return logits.sum() * 0.0
    small = F.interpolate(mask[known], size=logits.shape[2:], mode="area")
    return F.binary_cross_entropy_with_logits(logits[known].float(), small)
