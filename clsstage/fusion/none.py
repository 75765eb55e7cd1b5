"""No fusion: the image alone."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from clsstage.fusion._registry import Fusion, MultiSampleDropoutHead, Widths, register


@register("none")
class ImageAlone(Fusion):
    """One linear layer over the pooled image features; metadata is not looked at."""

    summary = "the image alone"

    def __init__(self, widths: Widths, dropout: float) -> None:
        super().__init__()
        self.head = MultiSampleDropoutHead(widths.pooled, dropout, widths.outputs)

    def features(self, maps: Tensor, pool: Callable[[Tensor], Tensor], metadata: Tensor) -> Tensor:
        """Return the pooled image features, (B, F)."""
        return pool(maps)
