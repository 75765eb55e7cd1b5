"""Evidence maps: how much each place of an image speaks for malignancy, by method."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from clsstage.explanations.grad_cam import grad_cam
from clsstage.explanations.rollout import attention_rollout, has_attention
from clsstage.members import Member
from lesioncore.errors import UsageError

_METHODS = {"grad_cam": grad_cam, "rollout": attention_rollout}


def evidence_methods(member: Member) -> tuple[str, ...]:
    """Return the methods that a member's encoder allows, the best known for it first."""
    return ("grad_cam", "rollout") if has_attention(member.network.encoder) else ("grad_cam",)


def evidence(
    member: Member, images: Tensor, metadata: Tensor, method: str = "grad_cam", *, views: int = 1
) -> Tensor:
    """Return the evidence at each place, (B, S, S) float32, 0 to 1 (the strongest place) each.

    An image with no evidence at all is 0 everywhere.

    Parameters
    ----------
    member : Member
    images : (B, planes, S, S) float32
    metadata : (B, width) float32
    method : str
        grad_cam (what speaks for malignancy) or rollout (where a transformer looks, whatever for).
    views : int
        Mirrorings that maps are averaged over, 1, 2 or 4: the last maps of small networks are
        coarse, and where their cells lie should not be seen.

    Raises
    ------
    UsageError
        A method that this encoder does not allow.
    """
    if method not in evidence_methods(member):
        raise UsageError(
            f"--method {method} with the encoder {member.network.architecture['encoder']}",
            wanted=" or ".join(evidence_methods(member)),
        )
    total = torch.zeros(len(images), *images.shape[2:])
    mirrorings = ((), (3,), (2,), (2, 3))[:views]
    for axes in mirrorings:
        seen = images.flip(axes) if axes else images
        coarse = _METHODS[method](member, seen, metadata)
        fine = F.interpolate(
            coarse[:, None], size=images.shape[2:], mode="bilinear", align_corners=False
        )[:, 0]
        total += fine.flip([axis - 1 for axis in axes]).cpu() if axes else fine.cpu()
    largest = total.amax((1, 2), keepdim=True)
    return torch.where(largest > 0, total / largest.clamp(min=1e-12), 0.0)
