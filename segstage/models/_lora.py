"""Low-rank adapters on the attention of a frozen encoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


class LowRankLinear(nn.Linear):
    """A frozen linear layer plus a learned product of two thin matrices.

    ``y = x W' + b + scale * x A' B'`` with A (rank, in) and B (out, rank); B starts at zero, so a
    new adapter changes nothing (LoRA: Hu et al., ICLR 2022). `weight` and `bias` keep their names,
    so the state dict of the plain layer is a part of this one's.
    """

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None)
        self.weight, self.bias = layer.weight, layer.bias
        self.weight.requires_grad_(False)
        if self.bias is not None:
            self.bias.requires_grad_(False)
        self.lora_a = nn.Parameter(torch.empty(rank, layer.in_features))
        self.lora_b = nn.Parameter(torch.zeros(layer.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        #: As alpha = 2 * rank, the usual choice: independent of the rank.
        self.scale = 2.0

    def forward(self, values: Tensor) -> Tensor:
        """Return (..., out) of (..., in)."""
        thin = linear(linear(values, self.lora_a), self.lora_b)
        return super().forward(values) + self.scale * thin


def add_lora(encoder: nn.Module, rank: int) -> list[nn.Parameter]:
    """Put adapters on the ``attn.qkv`` and ``attn.proj`` layers of an encoder, in place.

    Parameters
    ----------
    encoder : Module
        SAM's ViT or TinyViT, frozen. Load its weights first or after: their names stay.
    rank : int
        Of the adapters; 1 or more.

    Returns
    -------
    list of Parameter
        The adapters' own, which learn.
    """
    learned: list[nn.Parameter] = []
    for name, module in list(encoder.named_modules()):
        if not name.endswith("attn"):
            continue
        for part in ("qkv", "proj"):
            adapted = LowRankLinear(getattr(module, part), rank)
            setattr(module, part, adapted)
            learned += [adapted.lora_a, adapted.lora_b]
    return learned
