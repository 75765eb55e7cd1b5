"""Losses by name, for one logit or one a class, with weights of mixed images in mind.

Each takes outputs (B, K) and targets (B, K) that add up to one a row for K classes, or lie in
0 to 1 for one output, and returns the mean loss. Targets are soft, since smoothing and mixup make
them so.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lesioncore.errors import unknown_name

Loss = Callable[[Tensor, Tensor], Tensor]
FOCUS = 2.0  # gamma of the focal loss, as in its paper


def create_loss(name: str, priors: Tensor) -> Loss:
    """Return a loss.

    Parameters
    ----------
    name : str
        `cross_entropy`; `focal` (Lin et al., arXiv 1708.02002: well-told images count less);
        `logit_adjusted` (Menon et al., arXiv 2007.07314: the classes' frequencies are added to the
        logits in training only, so that the network itself treats rare and common alike).
    priors : (K,) float
        How often an epoch shows each class; for one output (1,), that of malignant.

    Raises
    ------
    UsageError
        An unknown name; the known are listed.
    """
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    return LOSSES[name](priors)


def training_offset(name: str, priors: Tensor) -> Tensor:
    """Return what to add to the outputs of a trained network to undo its loss, (K,) float."""
    return _log_odds(priors) if name == "logit_adjusted" else torch.zeros_like(priors)


def _log_odds(priors: Tensor) -> Tensor:
    kept = priors.clamp(1e-6, 1.0)
    return torch.logit(kept, eps=1e-6) if len(kept) == 1 else kept.log()


def _per_image(outputs: Tensor, target: Tensor) -> Tensor:
    if outputs.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(outputs[:, 0], target[:, 0], reduction="none")
    return F.cross_entropy(outputs, target, reduction="none")


def _cross_entropy(_priors: Tensor) -> Loss:
    return lambda outputs, target: _per_image(outputs, target).mean()


def _focal(_priors: Tensor) -> Loss:
    def loss(outputs: Tensor, target: Tensor) -> Tensor:
        if outputs.shape[1] == 1:
            chance = outputs.sigmoid()
            outputs, target = (
                torch.cat([-outputs, outputs], 1) / 2,
                torch.cat([1 - target, target], 1),
            )
            chance = torch.cat([1 - chance, chance], 1)
        else:
            chance = outputs.softmax(1)
        told = F.log_softmax(outputs, 1)
        return -(target * (1 - chance) ** FOCUS * told).sum(1).mean()

    return loss


def _logit_adjusted(priors: Tensor) -> Loss:
    offset = _log_odds(priors)
    return lambda outputs, target: _per_image(outputs + offset.to(outputs), target).mean()


LOSSES: dict[str, Callable[[Tensor], Loss]] = {
    "cross_entropy": _cross_entropy,
    "focal": _focal,
    "logit_adjusted": _logit_adjusted,
}
