"""Metadata that asks the image: each of its inputs is a query over the places of the last maps.

Attention: Vaswani et al., arXiv 1706.03762. A token a number: Gorishniy et al., Revisiting Deep
Learning Models for Tabular Data, arXiv 2106.11959.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from clsstage.fusion._maps import as_tokens
from clsstage.fusion._registry import Fusion, MultiSampleDropoutHead, Widths, register

_WIDTH = 128
_HEADS = 4


@register("cross_attention")
class CrossAttention(Fusion):
    """Metadata's tokens attend to the image's; their mean stands beside the pooled features.

    Token i of metadata is ``m_i * direction_i + place_i``, so that a zero (no such value) is a
    token too.
    """

    summary = "each metadata input attends to places of the image; mean beside the image's features"

    def __init__(self, widths: Widths, dropout: float) -> None:
        super().__init__()
        self.channels = widths.maps
        self.direction = nn.Parameter(torch.randn(widths.metadata, _WIDTH) * 0.5)
        self.place = nn.Parameter(torch.randn(widths.metadata, _WIDTH) * 0.5)
        self.normalise_query = nn.LayerNorm(_WIDTH)
        self.normalise_image = nn.LayerNorm(widths.maps)
        self.attention = nn.MultiheadAttention(
            _WIDTH, _HEADS, kdim=widths.maps, vdim=widths.maps, batch_first=True
        )
        self.normalise = nn.LayerNorm(_WIDTH)
        self.head = MultiSampleDropoutHead(widths.pooled + _WIDTH, dropout, widths.outputs)

    def features(self, maps: Tensor, pool: Callable[[Tensor], Tensor], metadata: Tensor) -> Tensor:
        """Return pooled image features and the mean answer side by side, (B, F)."""
        tokens = metadata[:, :, None] * self.direction + self.place
        image = self.normalise_image(as_tokens(maps, self.channels))
        found, _ = self.attention(self.normalise_query(tokens), image, image, need_weights=False)
        answer = self.normalise(tokens + found).mean(1)
        return torch.cat([pool(maps), answer], dim=1)
