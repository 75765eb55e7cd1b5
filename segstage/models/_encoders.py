"""Encoders of segmenters: those of segmentation-models-pytorch, and timm's (``tu-`` names)."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm

from lesioncore.errors import LesionError, UsageError
from lesioncore.files import sha256_file
from weights.imagenet import (
    ImageNetRecord,
    fill,
    imagenet_preprocessing,
    load_imagenet,
    read_tensors,
)

DEFAULT_ENCODER = "tu-tf_efficientnet_lite0"


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
