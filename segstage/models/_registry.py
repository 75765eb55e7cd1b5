"""The base of all segmenters, their registry and their factory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lesioncore.errors import UsageError
from lesioncore.registry import Registry
from weights.imagenet import ImageNetRecord


class Segmenter(nn.Module):
    """A network from pixels to one logit a pixel.

    A member sets `summary`, builds its network in ``__init__(encoder_weights=..., **options)`` and
    calls `describe` with what rebuilds it. ``encoder_weights="none"`` must build it from nothing:
    that is how saved weights are loaded.
    """

    name: ClassVar[str] = ""
    #: One line for `segstage models`.
    summary: ClassVar[str] = ""
    #: Whether there is anything to learn; `segstage train` only scores the others.
    trainable: ClassVar[bool] = True
    #: Whether `forward` is one fixed graph, which ONNX can hold.
    exportable: ClassVar[bool] = False
    #: Whether ``__init__`` takes the name of an ``encoder``.
    has_encoder: ClassVar[bool] = True

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        #: Member folder of the run whose weights are a part of this network from the start.
        self.built_on: Path | None = None
        self.options: dict[str, Any] = {}
        self.origin: dict[str, str] = {}

    def describe(
        self,
        options: dict[str, Any],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        origin: ImageNetRecord,
    ) -> None:
        """Record the options that rebuild this network, its normalisation and its first weights."""
        self.options = options
        self.origin = asdict(origin)
        # In units of 0..255, so that pixels go in as they are.
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @property
    def architecture(self) -> dict[str, Any]:
        """Arguments of `create_segmenter` that rebuild this network."""
        return {"name": self.name, **self.options}

    @property
    def normalisation(self) -> dict[str, list[float]]:
        """`mean` and `std` in units of [0, 1], RGB."""
        return {
            "mean": [round(float(value) / 255, 6) for value in self.mean.flatten()],
            "std": [round(float(value) / 255, 6) for value in self.std.flatten()],
        }

    def prepare(self, pixels: Tensor) -> Tensor:
        """Return network input from pixels.

        Parameters
        ----------
        pixels : (B, H, W, 3) uint8 RGB

        Returns
        -------
        (B, 3, H, W) float32, normalised, channels last in memory (faster on CPUs and GPUs)
        """
        return (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, 1, H, W) float32 of normalised images (B, 3, H, W) float32."""
        raise NotImplementedError

    def loss(
        self, images: Tensor, truth: Tensor, criterion: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Return what training makes small, a scalar.

        Parameters
        ----------
        images : (B, 3, H, W) float32
            Normalised.
        truth : (B, 1, H, W) float32 in [0, 1]
        criterion : callable
            From (logits, truth) to a scalar, see `segstage.losses.create_loss`.
        """
        return criterion(self(images), truth)

    def embedding_key(self) -> dict[str, Any] | None:
        """Return what decides the results of `embed`; None where learning changes them.

        A member that returns a key takes kept embeddings in `forward` and `loss` as a further
        argument, see `segstage.embeddings`.
        """
        return None

    def embed(self, images: Tensor) -> Tensor:
        """Return what a frozen encoder makes of normalised images, (B, C, h, w)."""
        raise NotImplementedError

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that start from ImageNet and learn at a lower rate."""
        return []


_SEGMENTERS: Registry[Segmenter] = Registry("segmenter", "segstage.models")
register = _SEGMENTERS.register
segmenter_names = _SEGMENTERS.names


def segmenter_class(name: str) -> type[Segmenter]:
    """Return the class registered as `name`; an unknown name lists the known."""
    return _SEGMENTERS[name]


def create_segmenter(name: str, **options: Any) -> Segmenter:
    """Return a new segmenter.

    Parameters
    ----------
    name : str
        One of `segmenter_names`.
    encoder : str, optional
        Name of the encoder; which ones there are depends on the member.
    encoder_weights : str, optional
        "auto", "offline", "hub", "none" or a path, see `weights.imagenet.load_imagenet`.
    **options
        Of the member, as its class documents them.

    Raises
    ------
    UsageError
        Unknown segmenter or encoder (the known are listed), or an option the member does not have.
    """
    member = segmenter_class(name)
    try:
        return member(**options)
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        raise UsageError(f"segmenter {name!r}: {error}") from error
