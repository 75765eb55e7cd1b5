"""What a fusion is, and the registry that finds one by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from lesioncore.registry import Registry


class Widths(NamedTuple):
    """How many numbers each part has.

    Attributes
    ----------
    maps : int
        Channels of the encoder's last feature maps (or tokens).
    pooled : int
        Features that the encoder pools them to.
    metadata : int
        Numbers of a row of metadata; 0 without metadata.
    outputs : int
        Logits an image.
    """

    maps: int
    pooled: int
    metadata: int
    outputs: int = 1


class Fusion(nn.Module):
    """From an image's features and its metadata to logits.

    A member sets `summary`, and `head` to a `MultiSampleDropoutHead` over its features; one without
    a single head implements `classify` and `set_bias` too. It is made with (widths, dropout).
    """

    name: ClassVar[str] = ""
    #: One line for `clsstage models`.
    summary: ClassVar[str] = ""

    head: MultiSampleDropoutHead

    def features(self, maps: Tensor, pool: Callable[[Tensor], Tensor], metadata: Tensor) -> Tensor:
        """Return the fused features (B, F).

        Parameters
        ----------
        maps : (B, C, h, w), (B, h, w, C) or (B, N, C) float
            The encoder's last feature maps, or a transformer's tokens.
        pool : callable
            From such maps to (B, pooled width), by the encoder's own head.
        metadata : (B, width) float
        """
        raise NotImplementedError

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits of features: (B, F) to (B, outputs)."""
        return self.head(features)  # type: ignore[no-any-return]

    @torch.no_grad()
    def set_bias(self, logits: Tensor) -> None:
        """Start at these logits (outputs,), so that the first steps need not learn them."""
        self.head.linear.bias.copy_(logits)


class MultiSampleDropoutHead(nn.Module):
    """One linear layer behind the mean of several dropout draws: (B, width) to (B, outputs).

    Inoue: Multi-Sample Dropout for Accelerated Training, arXiv 1905.09788.
    """

    def __init__(
        self, width: int, dropout: float = 0.5, outputs: int = 1, *, draws: int = 5
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(width, outputs)
        self.dropout = nn.Dropout(dropout)
        self.draws = draws

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits, (B, outputs)."""
        if not self.training:
            return self.linear(features)  # type: ignore[no-any-return]
        drawn = [self.linear(self.dropout(features)) for _ in range(self.draws)]
        return torch.stack(drawn).mean(0)


_FUSIONS: Registry[Fusion] = Registry("fusion", "clsstage.fusion")
register = _FUSIONS.register
fusion_names = _FUSIONS.names


def fusion_class(name: str) -> type[Fusion]:
    """Return the class registered as `name`; an unknown name lists the known."""
    return _FUSIONS[name]
