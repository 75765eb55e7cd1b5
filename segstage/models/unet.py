"""U-Net on any encoder of segmentation-models-pytorch or timm (names that start with ``tu-``)."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm
from torch import Tensor, nn

from lesioncore.errors import LesionError, UsageError
from lesioncore.files import sha256_file
from segstage.models._registry import Segmenter, register
from weights.imagenet import (
    ImageNetRecord,
    fill,
    imagenet_preprocessing,
    load_imagenet,
    read_tensors,
)

DEFAULT_ENCODER = "tu-tf_efficientnet_lite0"
# Half of the channels that smp gives by default: a third faster to train on CPUs.
DECODER_CHANNELS = (128, 64, 32, 16, 16)


@register("unet")
class UNet(Segmenter):
    """U-Net (Ronneberger, Fischer and Brox, MICCAI 2015) with a pretrained encoder.

    Parameters
    ----------
    encoder : str
        An encoder of smp ("resnet34") or "tu-" and a timm architecture ("tu-convnext_tiny").
    encoder_weights : str
        See `weights.imagenet.load_imagenet`.
    decoder_channels : sequence of int
        Channels of the decoder's stages, from the deepest; as many as the encoder has depths.
    """

    summary = "U-Net, Dice + BCE; any smp encoder or tu-<timm architecture>"

    def __init__(
        self,
        encoder: str = DEFAULT_ENCODER,
        encoder_weights: str = "auto",
        decoder_channels: Sequence[int] = DECODER_CHANNELS,
    ) -> None:
        super().__init__()
        check_encoder(encoder)
        channels = [int(count) for count in decoder_channels]
        try:
            self.network: nn.Module = smp.Unet(
                encoder,
                encoder_weights=None,
                encoder_depth=len(channels),
                decoder_channels=channels,
            )
        except (ValueError, RuntimeError, KeyError, AttributeError, TypeError) as error:
            # smp and timm say in many ways that an architecture gives no feature pyramid.
            raise UsageError(
                f"no U-Net can be built on encoder {encoder!r}: {error}",
                wanted="an encoder with feature maps at several scales",
                mend=f"--encoder {DEFAULT_ENCODER}",
            ) from error
        mean, std, origin = load_encoder(self._encoder, encoder, encoder_weights)
        self.describe({"encoder": encoder, "decoder_channels": channels}, mean, std, origin)

    @property
    def _encoder(self) -> Any:
        return self.network.encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, 1, H, W) of images (B, 3, H, W); H and W multiples of 32."""
        return self.network(images)  # type: ignore[no-any-return]

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return the encoder's parameters."""
        return list(self._encoder.parameters())


def load_encoder(
    encoder: Any, name: str, source: str
) -> tuple[tuple[float, ...], tuple[float, ...], ImageNetRecord]:
    """Fill an smp encoder with ImageNet weights; return (mean, std, where they came from)."""
    if name.startswith("tu-"):
        architecture = name.removeprefix("tu-")
        origin = load_imagenet(encoder.model, architecture, source)
        mean, std = imagenet_preprocessing(architecture)
        return mean, std, origin
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    if source == "none":
        return mean, std, ImageNetRecord("none")
    if source == "offline":
        raise LesionError(
            f"no offline package holds weights of {name}",
            mend=f"--encoder {DEFAULT_ENCODER}, or --encoder-weights PATH, hub or none",
        )
    if source in ("auto", "hub"):
        return _fetch_smp(encoder, name)
    path = Path(source)
    if not path.is_file():
        raise LesionError(
            f"no such encoder weights: {source}",
            wanted="auto, hub, none, or a .safetensors, .pth or .pt file",
        )
    fill(encoder, read_tensors(path), str(path))
    return mean, std, ImageNetRecord(f"file:{path.name}", sha256_file(path))


def _fetch_smp(
    encoder: Any, name: str
) -> tuple[tuple[float, ...], tuple[float, ...], ImageNetRecord]:
    try:
        fetched = smp.encoders.get_encoder(name, weights="imagenet")
        settings = smp.encoders.get_preprocessing_params(name, "imagenet")
    except Exception as error:  # network, hub and missing-weight errors have no common base
        raise LesionError(
            f"could not fetch the ImageNet weights of {name}: {str(error).splitlines()[0]}",
            wanted="a network, or weights on this machine",
            mend="--encoder-weights PATH of a .safetensors or .pth file, or none",
        ) from error
    fill(encoder, fetched.state_dict(), name)
    return tuple(settings["mean"]), tuple(settings["std"]), ImageNetRecord(f"hub:smp/{name}")


def encoder_names() -> list[str]:
    """Return smp's own encoders, sorted; its aliases of timm's (``timm-``) are left out."""
    names = smp.encoders.get_encoder_names()
    return sorted(name for name in names if not name.startswith("timm-"))


def check_encoder(name: str) -> None:
    """Refuse an encoder that neither smp nor timm has, listing what is near.

    Raises
    ------
    UsageError
        Unknown encoder.
    """
    if name in encoder_names():
        return
    architecture = name.removeprefix("tu-").removeprefix("timm-").split(".")[0]
    if name.startswith("tu-") and timm.is_model(architecture):
        return
    if timm.is_model(architecture):
        raise UsageError(
            f"unknown encoder {name!r}", mend=f"--encoder tu-{name.removeprefix('timm-')}"
        )
    near = difflib.get_close_matches(architecture, timm.list_models(), n=8, cutoff=0.4)
    raise UsageError(
        f"unknown encoder {name!r}",
        wanted=f"one of smp's: {', '.join(encoder_names())};\n    or tu-<any architecture of timm>"
        + (f", such as {', '.join(f'tu-{item}' for item in near)}" if near else ""),
        mend="segstage models --encoders TEXT lists those whose name holds a text",
    )
