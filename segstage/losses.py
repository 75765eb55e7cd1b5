"""Losses of segmenters by name, and weighted sums of them. Logits in, one number out.

All take ``logits, truth``: (B, 1, H, W) float, `truth` in [0, 1] (soft on borders). Overlaps are
taken an image at a time, so that small lesions count as much as large ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lesioncore.errors import UsageError, unknown_name
from segstage.distances import signed_distance

Loss = Callable[[Tensor, Tensor], Tensor]

#: Weights of false positives and false negatives of the Tversky losses.
TVERSKY = (0.3, 0.7)
FOCAL_GAMMA = 0.75


def soft_overlap(probability: Tensor, truth: Tensor, positive: float, negative: float) -> Tensor:
    """Return the Tversky index of each image, (B,), in [0, 1].

    ``TP / (TP + positive FP + negative FN)``; one half for both is the Dice coefficient, one for
    both the Jaccard index. One pixel of slack defines it on empty masks and is nothing beside a
    lesion.

    Parameters
    ----------
    probability, truth : (B, 1, H, W) float in [0, 1]
    positive, negative : float
        Weights of false positives and of false negatives.
    """
    both = (probability * truth).sum(dim=(1, 2, 3))
    extra = probability.sum(dim=(1, 2, 3)) - both
    missed = truth.sum(dim=(1, 2, 3)) - both
    return (both + 0.5) / (both + positive * extra + negative * missed + 0.5)


def dice(logits: Tensor, truth: Tensor) -> Tensor:
    """Return one minus the soft Dice (Milletari, Navab and Ahmadi, 3DV 2016)."""
    return 1 - soft_overlap(logits.sigmoid(), truth, 0.5, 0.5).mean()


def jaccard(logits: Tensor, truth: Tensor) -> Tensor:
    """Return one minus the soft Jaccard index (Rahman and Wang, ISVC 2016)."""
    return 1 - soft_overlap(logits.sigmoid(), truth, 1.0, 1.0).mean()


def bce(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of the pixels."""
    return binary_cross_entropy_with_logits(logits, truth)


def tversky(logits: Tensor, truth: Tensor) -> Tensor:
    """Return one minus the Tversky index (Salehi et al., MLMI 2017); a missed pixel costs more."""
    return 1 - soft_overlap(logits.sigmoid(), truth, *TVERSKY).mean()


def focal_tversky(logits: Tensor, truth: Tensor) -> Tensor:
    """Return ``(1 - Tversky) ** 0.75``: hard images count more (Abraham and Khan, ISBI 2019)."""
    rest = 1 - soft_overlap(logits.sigmoid(), truth, *TVERSKY)
    return rest.clamp(min=1e-6).pow(FOCAL_GAMMA).mean()


def lovasz(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the Lovász hinge, a convex surrogate of the Jaccard loss (Berman et al., CVPR 2018).

    The truth is taken at one half.
    """
    sign = 2 * (truth > 0.5).float().flatten(1) - 1
    errors = (1 - logits.flatten(1) * sign).relu()
    errors, order = errors.sort(dim=1, descending=True)
    real = ((sign + 1) / 2).gather(1, order)
    total = real.sum(dim=1, keepdim=True)
    union = total + (1 - real).cumsum(dim=1)
    index = 1 - (total - real.cumsum(dim=1)) / union.clamp(min=1)
    step = torch.diff(index, dim=1, prepend=torch.zeros_like(total))
    return (errors * step).sum(dim=1).mean()


def boundary(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the boundary loss: probability times the signed distance to the true outline.

    Distances are in parts of the picture's side, negative inside, so the best value is below zero
    (Kervadec et al., MIDL 2019). It has no notion of overlap: sum it with one that does.
    """
    distance = signed_distance(truth[:, 0] > 0.5).to(logits)[:, None]
    return (logits.sigmoid() * distance).mean()


LOSSES: dict[str, Loss] = {
    f.__name__: f for f in (bce, boundary, dice, focal_tversky, jaccard, lovasz, tversky)
}
_TERM = re.compile(r"\s*(?:([0-9]*\.?[0-9]+)\s*\*\s*)?([a-z_]+)\s*")


def parse_loss(text: str) -> list[tuple[float, str]]:
    """Return (weight, name) of each term of ``"dice+bce"`` or ``"0.7*dice + 0.3*bce"``.

    Weights are as they are written; with none written at all, all are equal and sum to one.

    Raises
    ------
    UsageError
        A name that is not known (the known are listed), or a text that is no sum.
    """
    found = [_TERM.fullmatch(term) for term in text.split("+")]
    terms = [(match[1], match[2]) for match in found if match]
    if len(terms) < len(found):
        raise UsageError(
            f"the loss {text!r} is no weighted sum", wanted='"dice+bce" or "0.7*dice+0.3*bce"'
        )
    for _, name in terms:
        if name not in LOSSES:
            raise unknown_name("loss", name, tuple(LOSSES))
    plain = all(weight is None for weight, _ in terms)
    return [(1 / len(terms) if plain else float(weight or 1), name) for weight, name in terms]


def create_loss(text: str) -> Loss:
    """Return the loss that a text like ``"dice+bce"`` names, see `parse_loss`."""
    terms = [(weight, LOSSES[name]) for weight, name in parse_loss(text)]

    def total(logits: Tensor, truth: Tensor) -> Tensor:
        # In half precision the sums over a picture overflow.
        logits, truth = logits.float(), truth.float()
        return torch.stack([weight * loss(logits, truth) for weight, loss in terms]).sum()

    return total


def hard_overlap(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return (Dice, Jaccard) of each image at a threshold of one half, (B,) float each.

    Two empty masks score 1, as in `lesioncore.metrics.segmentation`.
    """
    guess, real = logits > 0, truth > 0.5
    both = (guess & real).sum(dim=(1, 2, 3)).float()
    either = (guess | real).sum(dim=(1, 2, 3)).float()
    empty = either == 0
    index = torch.where(empty, 1.0, both / either.clamp(min=1))
    return torch.where(empty, 1.0, 2 * both / (both + either).clamp(min=1)), index
