"""Attention rollout: how the last tokens of a transformer draw on the places of the image.

Abnar and Zuidema: Quantifying Attention Flow in Transformers, ACL 2020, arXiv 2005.00928.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from clsstage.members import Member


def has_attention(encoder: nn.Module) -> bool:
    """Whether an encoder is a plain transformer, whose attention can be followed to the image."""
    blocks: Any = getattr(encoder, "blocks", None)
    if blocks is None or not hasattr(encoder, "num_prefix_tokens"):
        return False
    return all(hasattr(getattr(one, "attn", None), "attn_drop") for one in blocks)


def attention_rollout(member: Member, images: Tensor, metadata: Tensor) -> Tensor:
    """Return how much each place was drawn on, (B, h, w) float32, summing to at most 1.

    It says where the network looked, not what for: the same for every class.

    Parameters
    ----------
    member : Member
    images : (B, planes, S, S) float32
    metadata : (B, width) float32
        Not looked at; here so that methods are called alike.
    """
    encoder: Any = member.network.encoder
    found: list[Tensor] = []
    with torch.inference_mode(), _watched(encoder, found):
        member.network.maps(images)
    count = found[0].shape[-1]
    identity = torch.eye(count, device=images.device)
    flow = identity.expand(len(images), count, count)
    for attention in found:
        # Half of each layer's output is its own input: the residual connection.
        flow = (0.5 * attention.float().mean(1) + 0.5 * identity) @ flow
    prefix = int(encoder.num_prefix_tokens)
    drawn = flow[:, 0, prefix:] if prefix else flow.mean(1)
    side = round(drawn.shape[1] ** 0.5)
    return drawn.reshape(len(images), side, side)


@contextmanager
def _watched(encoder: Any, found: list[Tensor]) -> Iterator[None]:
    """Collect the attention (B, heads, N, N) of every block, which fused kernels never show."""
    handles, fused = [], []
    for block in encoder.blocks:
        fused.append((block.attn, block.attn.fused_attn))
        block.attn.fused_attn = False
        handles.append(
            block.attn.attn_drop.register_forward_hook(
                lambda _module, _given, out: found.append(out.detach())
            )
        )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for attention, before in fused:
            attention.fused_attn = before
