"""The classifier: any timm encoder, a fusion with the metadata, one logit of malignancy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from clsstage.fusion import Widths, fusion_class
from lesioncore.errors import unknown_name
from weights.imagenet import ImageNetRecord, load_imagenet

DEFAULT_ENCODER = "tf_efficientnet_lite0"


class Classifier(nn.Module):
    """Encoder and fusion; made by `create_classifier`.

    Attributes
    ----------
    architecture : dict
        Arguments of `create_classifier` that build it again, as plain values.
    mean, std : tuple of float
        Of images in 0 to 1, one a channel.
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
    ) -> None:
        super().__init__()
        import timm

        if not timm.is_model(encoder.split(".")[0]):
            raise unknown_name("encoder", encoder, timm.list_models())
        # Transformers are built for one size; convolutional networks take any.
        fixed = getattr(timm.get_pretrained_cfg(encoder), "fixed_input_size", False)
        sized: dict[str, Any] = {"img_size": image_size} if fixed and image_size else {}
        self.encoder = timm.create_model(
            encoder, pretrained=False, num_classes=0, in_chans=in_channels, **sized
        )
        record: Any = self.encoder.pretrained_cfg
        # The mask channel has no statistics of its own; a half keeps it in the same range.
        self.mean = (*map(float, record["mean"]), 0.5)[:in_channels]
        self.std = (*map(float, record["std"]), 0.5)[:in_channels]
        maps, pooled = self.encoder.num_features, self.encoder.head_hidden_size
        self.fusion = fusion_class(fusion)(Widths(maps, pooled, metadata_width), dropout)  # type: ignore[call-arg, arg-type]
        self.architecture: dict[str, Any] = {
            "fusion": fusion,
            "encoder": encoder,
            "metadata_width": metadata_width,
            "in_channels": in_channels,
            "image_size": image_size,
            "dropout": dropout,
        }

    def features(self, image: Tensor, metadata: Tensor) -> Tensor:
        """Return the features of images (B, C, S, S) and metadata (B, width): (B, F)."""
        maps = self.encoder.forward_features(image)  # type: ignore[operator]
        return self.fusion.features(maps, self.encoder.forward_head, metadata)  # type: ignore[arg-type]

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
) -> Classifier:
    """Return a new classifier with random weights.

    Parameters
    ----------
    fusion : str
        One of `clsstage.fusion.fusion_names()`. Without metadata every fusion is "none".
    encoder : str
        Name of a timm image model.
    metadata_width : int
        Numbers a row of metadata; 0 without metadata.
    in_channels : int
        3, or 4 with the mask as a channel.
    image_size : int, optional
        Side of the input in pixels; only networks of a fixed size (transformers) look at it.
    dropout : float
        Dropout before the last layer.

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
    )


def load_pretrained(network: Classifier, source: str = "auto") -> ImageNetRecord:
    """Fill the encoder of a classifier with ImageNet weights; return where they came from.

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
    if source == "none":
        return ImageNetRecord("none")
    options = network.architecture
    name = options["encoder"]
    if options["in_channels"] == 3:
        return load_imagenet(network.encoder, name, source)
    plain = create_classifier("none", encoder=name, image_size=options["image_size"]).encoder
    record = load_imagenet(plain, name, source)
    wanted = network.encoder.state_dict()
    found = plain.state_dict()
    network.encoder.load_state_dict(
        {key: _widened(value, wanted[key]) for key, value in found.items()}
    )
    return record


def _widened(tensor: Tensor, wanted: Tensor) -> Tensor:
    if tensor.shape == wanted.shape:
        return tensor
    wide = torch.zeros_like(wanted)
    wide[:, : tensor.shape[1]] = tensor
    return wide
