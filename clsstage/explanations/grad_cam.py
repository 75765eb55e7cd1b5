"""Grad-CAM: feature maps weighted by how much malignancy grows with each.

Selvaraju et al.: Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization,
ICCV 2017, arXiv 1610.02391.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clsstage.mask_pool import places_last
from clsstage.members import Member

#: Cells on a side that a map should have at least; coarser ones cannot tell lesion from skin.
MIN_SIDE = 7


def grad_cam(member: Member, images: Tensor, metadata: Tensor) -> Tensor:
    """Return the evidence for malignancy at each cell, (B, h, w) float32, 0 or more.

    Taken at the deepest maps of the encoder that have at least `MIN_SIDE` cells on a side; at its
    last ones where none is known.

    Parameters
    ----------
    member : Member
    images : (B, planes, S, S) float32
    metadata : (B, width) float32
    """
    network = member.network
    level = _level(network.encoder, int(images.shape[2]))
    with torch.enable_grad():
        if level is None:
            maps = network.maps(images).detach().requires_grad_()
            outputs = network.classify(network.fuse(maps, images, metadata))
        else:
            # Weights may be frozen: the image asks for the gradient, so that maps have one.
            outputs, found = network.with_levels(
                images.detach().clone().requires_grad_(), metadata, [level]
            )
            maps = found[0]
        logit = member.target.logit(outputs + torch.tensor(member.offset, device=outputs.device))
        slope = torch.autograd.grad(logit.sum(), maps)[0]
    if level is None:
        channels = int(network.encoder.num_features)  # type: ignore[arg-type]
        prefix = int(getattr(network.encoder, "num_prefix_tokens", 0))
        maps, slope = (places_last(one, channels, prefix) for one in (maps, slope))
    weight = slope.mean((2, 3), keepdim=True)
    return (weight * maps).sum(1).clamp(min=0).detach().float()


def _level(encoder: torch.nn.Module, side: int) -> int | None:
    """Return the intermediate map to look at; None for the last ones as they are."""
    info = getattr(encoder, "feature_info", None)
    if not info or hasattr(encoder, "num_prefix_tokens"):
        return None
    reductions = [int(item["reduction"]) for item in info]
    fine = [k for k, by in enumerate(reductions) if side // by >= MIN_SIDE]
    return fine[-1] if fine and fine[-1] < len(reductions) - 1 else None
