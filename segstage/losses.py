"""Losses of segmenters. Logits in, one number out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def dice_bce(logits: Tensor, truth: Tensor, *, dice_weight: float = 0.5) -> Tensor:
    """Return ``dice_weight * (1 - Dice) + (1 - dice_weight) * BCE``.

    Dice is soft and taken an image at a time, so that small lesions count as much as large ones
    (Milletari, Navab and Ahmadi, 3DV 2016); an image without a lesion gives 1 - 1/(1 + sum(p)).

    Parameters
    ----------
    logits, truth : (B, 1, H, W) float
        `truth` in [0, 1].
    dice_weight : float in [0, 1]
    """
    logits, truth = logits.float(), truth.float()
    bce = binary_cross_entropy_with_logits(logits, truth)
    return dice_weight * (1 - soft_dice(logits.sigmoid(), truth).mean()) + (1 - dice_weight) * bce


def soft_dice(probability: Tensor, truth: Tensor) -> Tensor:
    """Return the soft Dice of each image, (B,), in [0, 1].

    Parameters
    ----------
    probability, truth : (B, 1, H, W) float in [0, 1]
    """
    both = (probability * truth).sum(dim=(1, 2, 3))
    each = probability.sum(dim=(1, 2, 3)) + truth.sum(dim=(1, 2, 3))
    # One pixel of slack: defined on empty masks, and nothing beside a lesion.
    return (2 * both + 1) / (each + 1)


def hard_overlap(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return (Dice, Jaccard) of each image at a threshold of one half, (B,) float each.

    Two empty masks score 1, as in `lesioncore.metrics.segmentation`.
    """
    guess, real = logits > 0, truth > 0.5
    both = (guess & real).sum(dim=(1, 2, 3)).float()
    either = (guess | real).sum(dim=(1, 2, 3)).float()
    empty = either == 0
    jaccard = torch.where(empty, 1.0, both / either.clamp(min=1))
    return torch.where(empty, 1.0, 2 * both / (both + either).clamp(min=1)), jaccard
