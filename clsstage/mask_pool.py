"""Features pooled under the soft mask, beside those pooled over the whole picture.

Weighted average pooling in the manner of mask-guided attention: what the network sees is not
changed, only from where its last features are collected.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from clsstage.fusion._maps import channel_axis
from lesioncore.errors import LesionError


def pool_under(maps: Tensor, mask: Tensor, channels: int, prefix: int = 0) -> Tensor:
    """Return the mean of feature maps weighted by a mask, (B, channels).

    Parameters
    ----------
    maps : (B, C, h, w), (B, h, w, C) or (B, N, C) float
        N tokens: `prefix` that stand for no place, then a square grid row by row.
    mask : (B, 1, H, W) float
        Weight of each place, 0 to 1; an image whose mask is empty is averaged as a whole.
    channels : int
        C, which tells the layouts apart; see `clsstage.fusion._maps`.
    prefix : int
        Tokens before the grid.

    Raises
    ------
    LesionError
        Tokens that make no square.
    """
    grid = places_last(maps, channels, prefix)
    weight = F.adaptive_avg_pool2d(mask.to(grid), (grid.shape[2], grid.shape[3]))
    # An empty mask says nothing: every place counts alike.
    empty = weight.sum((2, 3), keepdim=True) <= 1e-3
    weight = torch.where(empty, torch.ones_like(weight), weight)
    return (grid * weight).sum((2, 3)) / weight.sum((2, 3))


def places_last(maps: Tensor, channels: int, prefix: int = 0) -> Tensor:
    """Return maps or tokens as (B, C, h, w); see `pool_under`."""
    if maps.ndim == 4:
        return maps.movedim(channel_axis(maps, channels), 1)
    tokens = maps[:, prefix:]
    side = round(tokens.shape[1] ** 0.5)
    if side * side != tokens.shape[1]:
        raise LesionError(
            f"{tokens.shape[1]} tokens make no square", mend="--mask-pool false, or another encoder"
        )
    return tokens.transpose(1, 2).unflatten(2, (side, side))
