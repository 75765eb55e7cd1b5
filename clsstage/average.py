"""A running average of a network's weights, which scores steadier than any single step."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class WeightAverage(nn.Module):
    """Exponential average of the parameters and float buffers of a network.

    The decay starts low and rises to `decay` ((1 + t) / (10 + t) at step t), so that short runs
    do not keep their random start.

    Parameters
    ----------
    network : Module
        Copied; the average starts at its weights.
    decay : float
        Weight of the past at each step, 0 to 1.
    """

    steps: Tensor

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take one step towards `network`."""
        step = int(self.steps)
        decay = min(self.decay, (1 + step) / (10 + step))
        mine, theirs = self.network.state_dict(), network.state_dict()
        floats = [name for name, value in mine.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [mine[name] for name in floats], [theirs[name] for name in floats], 1.0 - decay
        )
        for name, value in mine.items():
            if not value.is_floating_point():
                value.copy_(theirs[name])
        self.steps += 1

    def train(self, mode: bool = True) -> WeightAverage:
        """Stay in evaluation mode: the average is never trained itself."""
        return super().train(False)
