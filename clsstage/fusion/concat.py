"""Metadata through a small MLP, beside the image's features: the ISIC 2020 winners' fusion.

Ha, Liu, Liu: Identifying Melanoma Images using EfficientNet Ensemble, arXiv 2010.05351.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from clsstage.fusion._registry import Fusion, MultiSampleDropoutHead, Widths, register


@register("concat")
class Concat(Fusion):
    """Pooled image features and encoded metadata side by side, one linear layer over both."""

    summary = "metadata through an MLP (512, 128), beside the image's features"

    def __init__(self, widths: Widths, dropout: float) -> None:
        super().__init__()
        self.mlp = MetadataMLP(widths.metadata)
        self.head = MultiSampleDropoutHead(
            widths.pooled + self.mlp.out_width, dropout, widths.outputs
        )

    def features(self, maps: Tensor, pool: Callable[[Tensor], Tensor], metadata: Tensor) -> Tensor:
        """Return both side by side, (B, F)."""
        return torch.cat([pool(maps), self.mlp(metadata)], dim=1)


class MetadataMLP(nn.Sequential):
    """Linear, batch norm and Swish twice, dropout between: (B, width) to (B, hidden[-1]).

    Parameters
    ----------
    width : int
        Numbers a row.
    hidden : sequence of int
        Widths of the layers; the winners use 512 and 128.
    dropout : float
        Dropout after each layer but the last.
    """

    def __init__(
        self, width: int, hidden: Sequence[int] = (512, 128), dropout: float = 0.3
    ) -> None:
        layers: list[nn.Module] = []
        for index, out in enumerate(hidden):
            layers += [nn.Linear(width, out), nn.BatchNorm1d(out), nn.SiLU()]
            if index < len(hidden) - 1:
                layers.append(nn.Dropout(dropout))
            width = out
        super().__init__(*layers)
        self.out_width = width
