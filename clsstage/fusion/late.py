"""Two classifiers that meet at the end: one of the image, one of the metadata."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from clsstage.fusion._registry import Fusion, MultiSampleDropoutHead, Widths, register
from clsstage.fusion.concat import MetadataMLP


@register("late")
class Late(Fusion):
    """The mean of the logits of the image alone and of the metadata alone."""

    summary = "mean of two logits: the image's alone and the metadata's alone"

    def __init__(self, widths: Widths, dropout: float) -> None:
        super().__init__()
        self.pooled = widths.pooled
        self.mlp = MetadataMLP(widths.metadata)
        self.image_head = MultiSampleDropoutHead(widths.pooled, dropout, widths.outputs)
        self.metadata_head = MultiSampleDropoutHead(self.mlp.out_width, dropout, widths.outputs)

    def features(self, maps: Tensor, pool: Callable[[Tensor], Tensor], metadata: Tensor) -> Tensor:
        """Return the features of both side by side, (B, F)."""
        return torch.cat([pool(maps), self.mlp(metadata)], dim=1)

    def classify(self, features: Tensor) -> Tensor:
        """Return the mean logits of both, (B, outputs)."""
        image, metadata = features[:, : self.pooled], features[:, self.pooled :]
        mean: Tensor = (self.image_head(image) + self.metadata_head(metadata)) / 2
        return mean

    @torch.no_grad()
    def set_bias(self, logits: Tensor) -> None:
        """Start both at these logits, (outputs,)."""
        self.image_head.linear.bias.copy_(logits)
        self.metadata_head.linear.bias.copy_(logits)
