"""The classifier: an encoder, a fusion with the metadata, one logit or one a class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from clsstage.encoders import create_encoder, load_encoder
from clsstage.fusion import Widths, fusion_class
from clsstage.mask_pool import pool_under
from weights.imagenet import ImageNetRecord

DEFAULT_ENCODER = "tf_efficientnet_lite0"


class Classifier(nn.Module):
    """Encoder and fusion; made by `create_classifier`.

    Attributes
    ----------
    architecture : dict
        Arguments of `create_classifier` that build it again, as plain values.
    planes : int
        Of the images it is given: 3, or 4 with the soft mask as the last.
    mean, std : tuple of float
        Of images in 0 to 1, one a plane.
    """

    def __init__(
        self,
        fusion: str,
        *,
        encoder: str,
        metadata_width: int,
        in_channels: int,
        image_size: int | None,
        dropout: float,
        outputs: int,
        mask_pool: bool,
    ) -> None:
        super().__init__()
        self.encoder = create_encoder(encoder, in_channels=in_channels, image_size=image_size)
        record: Any = self.encoder.pretrained_cfg
        # The mask channel has no statistics of its own; a half keeps it in the same range.
        self.planes = 4 if mask_pool else in_channels
        self.mean = (*map(float, record["mean"]), 0.5)[: self.planes]
        self.std = (*map(float, record["std"]), 0.5)[: self.planes]
        maps, pooled = int(self.encoder.num_features), int(self.encoder.head_hidden_size)  # type: ignore[arg-type]
        widths = Widths(maps, pooled + maps * mask_pool, metadata_width, outputs)
        self.fusion = fusion_class(fusion)(widths, dropout)  # type: ignore[call-arg]
        self.architecture: dict[str, Any] = {
            "fusion": fusion,
            "encoder": encoder,
            "metadata_width": metadata_width,
            "in_channels": in_channels,
            "image_size": image_size,
            "dropout": dropout,
            "outputs": outputs,
            "mask_pool": mask_pool,
        }

    def features(self, image: Tensor, metadata: Tensor) -> Tensor:
        """Return the features of images (B, planes, S, S) and metadata (B, width): (B, F)."""
        return self.fuse(self.maps(image), image, metadata)

    def maps(self, image: Tensor) -> Tensor:
        """Return the encoder's last feature maps, or a transformer's tokens, of images."""
        return self.encoder.forward_features(self._seen(image))  # type: ignore[operator, no-any-return]

    def fuse(self, maps: Tensor, image: Tensor, metadata: Tensor) -> Tensor:
        """Return the features (B, F) of such maps of these images, and metadata."""
        return self.fusion.features(maps, self._pool(image), metadata)

    def with_levels(
        self, image: Tensor, metadata: Tensor, levels: list[int]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the logits and the encoder's intermediate maps of these numbers."""
        maps, found = self.encoder.forward_intermediates(self._seen(image), indices=levels)  # type: ignore[operator]
        return self.classify(self.fuse(maps, image, metadata)), list(found)

    def _seen(self, image: Tensor) -> Tensor:
        return image[:, : self.architecture["in_channels"]]

    def _pool(self, image: Tensor) -> Callable[[Tensor], Tensor]:
        """Return how feature maps of these images are pooled."""
        whole: Any = self.encoder.forward_head
        if not self.architecture["mask_pool"]:
            return whole  # type: ignore[no-any-return]
        mask = image[:, 3:4] * self.std[3] + self.mean[3]
        channels, prefix = self.encoder.num_features, getattr(self.encoder, "num_prefix_tokens", 0)
        return lambda maps: torch.cat(
            [whole(maps), pool_under(maps, mask, int(channels), int(prefix))],  # type: ignore[arg-type]
            dim=1,
        )

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits of features: (B, F) to (B, outputs)."""
        return self.fusion.classify(features)

    def forward(self, image: Tensor, metadata: Tensor) -> Tensor:
        """Return the logits of each image, (B, outputs)."""
        return self.classify(self.features(image, metadata))


def create_classifier(
    fusion: str = "concat",
    *,
    encoder: str = DEFAULT_ENCODER,
    metadata_width: int = 0,
    in_channels: int = 3,
    image_size: int | None = None,
    dropout: float = 0.5,
    outputs: int = 1,
    mask_pool: bool = False,
) -> Classifier:
    """Return a new classifier with random weights.

    Parameters
    ----------
    fusion : str
        One of `clsstage.fusion.fusion_names()`. Without metadata every fusion is "none".
    encoder : str
        Name of a timm image model, or alexnet.
    metadata_width : int
        Numbers a row of metadata; 0 without metadata.
    in_channels : int
        3, or 4 with the mask as a channel.
    image_size : int, optional
        Side of the input in pixels; only networks of a fixed size (transformers) look at it.
    dropout : float
        Dropout before the last layer.
    outputs : int
        Logits an image; see `clsstage.targets`.
    mask_pool : bool
        Pool the last features under the soft mask too; the images then have it as a fourth plane.

    Raises
    ------
    UsageError
        Unknown fusion or encoder; near or known names are listed.
    """
    fusion_class(fusion)
    return Classifier(
        fusion if metadata_width else "none",
        encoder=encoder,
        metadata_width=metadata_width,
        in_channels=in_channels,
        image_size=image_size,
        dropout=dropout,
        outputs=outputs,
        mask_pool=mask_pool,
    )


def load_pretrained(network: Classifier, source: str = "auto") -> ImageNetRecord:
    """Fill the encoder of a classifier with ImageNet weights; return where they came from.

    A fourth input channel starts at zero: the network begins as one that does not see the mask.

    Parameters
    ----------
    network : Classifier
        Changed in place.
    source : str
        auto, offline, hub, none, or a file; see `clsstage.encoders.load_encoder`.

    Raises
    ------
    LesionError
        The weights cannot be had from there, or do not fit.
    """
    options = network.architecture
    return load_encoder(
        network.encoder,
        options["encoder"],
        source,
        in_channels=options["in_channels"],
        image_size=options["image_size"],
    )
