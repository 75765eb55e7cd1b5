"""Metadata that opens and closes the channels of the image: the MetaBlock.

Pacheco and Krohling: An Attention-Based Mechanism to Combine Images and Metadata in Deep Learning
Models Applied to Skin Cancer Classification, IEEE JBHI 25(9), 2021.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from clsstage.fusion._maps import over_places
from clsstage.fusion._registry import Fusion, MultiSampleDropoutHead, Widths, register


@register("metablock")
class MetaBlock(Fusion):
    """Maps V become ``sigmoid(tanh(V * f(m)) + g(m))``, one f and one g a channel.

    f and g are each a linear layer of the metadata m and a batch norm, as published.
    """

    summary = "the last maps V become sigmoid(tanh(V * f(metadata)) + g(metadata))"

    def __init__(self, widths: Widths, dropout: float) -> None:
        super().__init__()
        self.channels = widths.maps
        self.scale = _normalised(widths)
        self.shift = _normalised(widths)
        self.head = MultiSampleDropoutHead(widths.pooled, dropout, widths.outputs)

    def features(self, maps: Tensor, pool: Callable[[Tensor], Tensor], metadata: Tensor) -> Tensor:
        """Return the pooled features of the modulated maps, (B, F)."""
        scale = over_places(self.scale(metadata), maps, self.channels)
        shift = over_places(self.shift(metadata), maps, self.channels)
        return pool(torch.sigmoid(torch.tanh(maps * scale) + shift))


def _normalised(widths: Widths) -> nn.Sequential:
    return nn.Sequential(nn.Linear(widths.metadata, widths.maps), nn.BatchNorm1d(widths.maps))
