"""What the members on segmentation-models-pytorch share: an encoder with weights, and a decoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from lesioncore.errors import UsageError
from segstage.models._encoders import DEFAULT_ENCODER, check_encoder, load_encoder
from segstage.models._registry import Segmenter


class SmpSegmenter(Segmenter):
    """A network of smp (``network``, with an ``encoder``) as a segmenter.

    Parameters
    ----------
    make : callable
        Class of smp, such as ``smp.FPN``.
    encoder : str
        An encoder of smp ("resnet34") or "tu-" and a timm architecture ("tu-convnext_tiny").
    encoder_weights : str
        See `weights.imagenet.load_imagenet`.
    settings : dict
        Arguments of `make`.
    options : dict
        What rebuilds the member beside its encoder: arguments of its own ``__init__``.
    """

    #: What errors call the network.
    title: ClassVar[str] = ""
    exportable = True

    def __init__(
        self,
        make: Callable[..., nn.Module],
        encoder: str,
        encoder_weights: str,
        settings: dict[str, Any],
        options: dict[str, Any],
    ) -> None:
        super().__init__()
        check_encoder(encoder)
        try:
            self.network: nn.Module = make(encoder, encoder_weights=None, **settings)
        except (
            ValueError,
            RuntimeError,
            KeyError,
            IndexError,
            AttributeError,
            TypeError,
            NotImplementedError,
        ) as error:
            # smp and timm say in many ways that an architecture gives no feature pyramid.
            raise UsageError(
                f"no {self.title} can be built on encoder {encoder!r}: {error}",
                wanted="an encoder with feature maps at several scales",
                mend=f"--encoder {DEFAULT_ENCODER}",
            ) from error
        mean, std, origin = load_encoder(self.encoder, encoder, encoder_weights)
        self.describe({"encoder": encoder, **options}, mean, std, origin)

    @property
    def encoder(self) -> Any:
        """The encoder of smp inside the network."""
        return self.network.encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, 1, H, W) of images (B, 3, H, W); H and W multiples of 32."""
        return self.network(images)  # type: ignore[no-any-return]

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return the encoder's parameters."""
        return list(self.encoder.parameters())
