"""The one factory of encoders, and the one way to fill them with ImageNet weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from clsstage.encoders.records import ALEXNET, encoder_record
from weights.imagenet import ImageNetRecord, fill, load_imagenet


def create_encoder(name: str, *, in_channels: int = 3, image_size: int | None = None) -> nn.Module:
    """Return a headless encoder with random weights and timm's interface.

    It has `forward_features`, `forward_head`, `num_features` (channels of its maps),
    `head_hidden_size` (features after its head) and `pretrained_cfg`.

    Parameters
    ----------
    name : str
        Name of a timm image model, with or without the tag of a weight, or "alexnet".
    in_channels : int
        3, or more with a mask as a channel.
    image_size : int, optional
        Side of the input in pixels; only networks of a fixed size (transformers) look at it.

    Raises
    ------
    UsageError
        Unknown name or tag; near names are listed.
    """
    record = encoder_record(name)
    if name == ALEXNET:
        from clsstage.encoders.alexnet import AlexNet

        return AlexNet(in_channels)
    import timm

    # Transformers are built for one size; convolutional networks take any.
    sized: dict[str, Any] = {"img_size": image_size} if record.fixed_size and image_size else {}
    made: nn.Module = timm.create_model(
        name, pretrained=False, num_classes=0, in_chans=in_channels, **sized
    )
    return made


def load_encoder(
    encoder: nn.Module,
    name: str,
    source: str = "auto",
    *,
    in_channels: int = 3,
    image_size: int | None = None,
) -> ImageNetRecord:
    """Fill an encoder of `create_encoder` with ImageNet weights; return where they came from.

    Channels after the third start at zero: the network begins as one that does not see the mask.
    The positions of a transformer of another size than its weights' are interpolated.

    Parameters
    ----------
    encoder : Module
        Changed in place.
    name, in_channels, image_size
        What it was created with.
    source : str
        auto, offline, hub, none, or a file; see `weights.load_imagenet`. For alexnet, files and hub
        are torchvision's.

    Raises
    ------
    LesionError
        The weights cannot be had from there, or do not fit.
    """
    if source == "none":
        return ImageNetRecord("none")
    fetch = None
    if name == ALEXNET:
        from clsstage.encoders.alexnet import fetch_alexnet

        fetch = fetch_alexnet
    record = encoder_record(name)
    resized = record.fixed_size and image_size not in (None, record.size)
    if in_channels == 3 and not resized:
        return load_imagenet(encoder, name, source, fetch=fetch)
    # First into the network that the weights were made for, then from it.
    plain = create_encoder(name)
    origin = load_imagenet(plain, name, source, fetch=fetch)
    wanted = encoder.state_dict()
    fitted = {
        key: _fitted(key, value, wanted[key], encoder)
        for key, value in plain.state_dict().items()
        if key in wanted
    }
    fill(encoder, fitted, name)
    return origin


def _fitted(key: str, tensor: Tensor, wanted: Tensor, encoder: Any) -> Tensor:
    if tensor.shape == wanted.shape:
        return tensor
    if key == "pos_embed":
        from timm.layers import resample_abs_pos_embed

        return resample_abs_pos_embed(
            tensor,
            new_size=list(encoder.patch_embed.grid_size),
            num_prefix_tokens=0 if encoder.no_embed_class else encoder.num_prefix_tokens,
        )
    if tensor.ndim == 4 and tensor.shape[1] < wanted.shape[1]:
        wide = torch.zeros_like(wanted)
        wide[:, : tensor.shape[1]] = tensor
        return wide
    return tensor
