"""How fast each part of a classifier learns: groups of parameters for the optimiser."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn


def rate_groups(
    encoder: nn.Module,
    rest: Iterable[nn.Parameter],
    *,
    lr: float,
    backbone: float = 1.0,
    layer_decay: float = 1.0,
) -> list[dict[str, Any]]:
    """Return AdamW's groups: the rest at `lr`, the encoder slower, its first layers slowest.

    Biases, norms and what the encoder names itself (positions) do not decay; the other groups keep
    the optimiser's own decay. Layers without a rule of their own (timm's `group_matcher`) make one
    layer. Frozen parameters are left out.

    Layer-wise decay: Bao et al., BEiT, arXiv 2106.08254; its order of layers is timm's.

    Parameters
    ----------
    encoder : Module
        Of `create_encoder`.
    rest : iterable of Parameter
        All other parameters: fusion, head.
    lr : float
        Rate of the rest.
    backbone : float
        The encoder's last layer learns at ``lr * backbone``.
    layer_decay : float
        Each layer below the last learns this much slower than the one above it; 1 for all alike.
    """
    found: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for scale, decays, parameters in _encoder_layers(encoder, layer_decay):
        found.setdefault((lr * backbone * scale, decays), []).extend(parameters)
    for parameter in rest:
        if parameter.requires_grad:
            found.setdefault((lr, parameter.ndim > 1), []).append(parameter)
    return [
        {"params": parameters, "lr": rate} | ({} if decays else {"weight_decay": 0.0})
        for (rate, decays), parameters in found.items()
    ]


def _encoder_layers(
    encoder: nn.Module, layer_decay: float
) -> list[tuple[float, bool, list[nn.Parameter]]]:
    """Return (part of the encoder's rate, whether it decays, parameters) of each layer."""
    if not hasattr(encoder, "group_matcher"):
        trained = [p for p in encoder.parameters() if p.requires_grad]
        return [(1.0, p.ndim > 1, [p]) for p in trained]
    from timm.optim import param_groups_layer_decay

    named: Any = getattr(encoder, "no_weight_decay", tuple)
    groups = param_groups_layer_decay(
        encoder,
        weight_decay=1.0,  # only told from 0 here
        no_weight_decay_list=named(),
        layer_decay=layer_decay,
    )
    return [(g["lr_scale"], g["weight_decay"] > 0, g["params"]) for g in groups]
