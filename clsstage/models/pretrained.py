"""ImageNet weights for a classifier's backbone, from a hub name, a local file or a package."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from clsstage.models.classifier import Classifier, LateFusionClassifier
from weights.imagenet import load_imagenet


def load_pretrained(network: Classifier, source: str = "auto") -> str:
    """Fill the backbone of a classifier with ImageNet weights; return where they came from.

    A fourth input channel starts at zero: the network begins as one that does not see the mask.

    Parameters
    ----------
    network : Classifier
        Changed in place.
    source : str
        auto, offline, hub, none, or a file; see `weights.load_imagenet`.

    Raises
    ------
    LesionError
        The weights cannot be had from there, or do not fit.
    """
    if source == "none" or not isinstance(network, LateFusionClassifier):
        return "none"
    architecture = network.architecture
    name = architecture["backbone"]
    if architecture["in_channels"] == 3:
        return load_imagenet(network.backbone, name, source).source
    plain = LateFusionClassifier(**_plain(architecture)).backbone
    record = load_imagenet(plain, name, source)
    wanted = network.backbone.state_dict()
    found = plain.state_dict()
    network.backbone.load_state_dict(
        {key: _widened(value, wanted[key]) for key, value in found.items()}
    )
    return record.source


def _plain(architecture: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in architecture.items() if key != "name"}
    return rest | {"in_channels": 3, "metadata_width": 0}


def _widened(tensor: Tensor, wanted: Tensor) -> Tensor:
    if tensor.shape == wanted.shape:
        return tensor
    wide = torch.zeros_like(wanted)
    wide[:, : tensor.shape[1]] = tensor
    return wide
