"""Metadata that scales and shifts the channels of the image: feature-wise linear modulation.

Perez et al.: FiLM: Visual Reasoning with a General Conditioning Layer, AAAI 2018, arXiv 1709.07871.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from clsstage.fusion._maps import over_places
from clsstage.fusion._registry import Fusion, MultiSampleDropoutHead, Widths, register

_HIDDEN = 128
_NEAR_IDENTITY = 0.02  # spread of the first weights: the maps start almost as they are


@register("film")
class Film(Fusion):
    """Maps V become ``(1 + gamma(m)) * V + beta(m)``, one gamma and one beta a channel."""

    summary = "the last maps V become (1 + gamma(metadata)) * V + beta(metadata)"

    def __init__(self, widths: Widths, dropout: float) -> None:
        super().__init__()
        self.channels = widths.maps
        last = nn.Linear(_HIDDEN, 2 * widths.maps)
        nn.init.normal_(last.weight, std=_NEAR_IDENTITY)
        nn.init.zeros_(last.bias)
        self.conditions = nn.Sequential(nn.Linear(widths.metadata, _HIDDEN), nn.SiLU(), last)
        self.head = MultiSampleDropoutHead(widths.pooled, dropout, widths.outputs)

    def features(self, maps: Tensor, pool: Callable[[Tensor], Tensor], metadata: Tensor) -> Tensor:
        """Return the pooled features of the modulated maps, (B, F)."""
        gamma, beta = self.conditions(metadata).chunk(2, dim=1)
        scale = over_places(1.0 + gamma, maps, self.channels)
        return pool(maps * scale + over_places(beta, maps, self.channels))
