"""How metadata joins the image: the parts of the ISIC 2020 winners' network.

Ha, Liu, Liu: Identifying Melanoma Images using EfficientNet Ensemble, arXiv 2010.05351.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


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


class MultiSampleDropoutHead(nn.Module):
    """One linear layer behind the mean of several dropout draws: (B, width) to (B,) logits.

    Inoue: Multi-Sample Dropout for Accelerated Training, arXiv 1905.09788.
    """

    def __init__(self, width: int, dropout: float = 0.5, draws: int = 5) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        self.dropout = nn.Dropout(dropout)
        self.draws = draws

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits, (B,)."""
        if not self.training:
            return self.linear(features)[:, 0]
        drawn = [self.linear(self.dropout(features)) for _ in range(self.draws)]
        return torch.stack(drawn).mean(0)[:, 0]
