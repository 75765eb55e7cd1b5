"""Late fusion: any timm backbone, a metadata MLP beside it, one head over both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clsstage.models._registry import register_classifier
from clsstage.models.fusion import MetadataMLP, MultiSampleDropoutHead
from lesioncore.errors import unknown_name


class Classifier(nn.Module):
    """What every classifier family offers to training and prediction.

    Subclasses set `architecture` (what `create_classifier` needs to build them again, as plain
    values), `mean` and `std` (of images in 0 to 1, one a channel), and implement `features`
    and `classify`.
    """

    architecture: dict[str, Any]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def features(self, image: Tensor, metadata: Tensor) -> Tensor:
        """Return the features of images (B, C, S, S) and metadata (B, width): (B, F)."""
        raise NotImplementedError

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits of features: (B, F) to (B,)."""
        raise NotImplementedError

    def forward(self, image: Tensor, metadata: Tensor) -> Tensor:
        """Return the logit of malignancy of each image, (B,)."""
        return self.classify(self.features(image, metadata))


@register_classifier("late_fusion")
class LateFusionClassifier(Classifier):
    """any timm backbone; age, sex, site and measurements join it through a small MLP

    Parameters
    ----------
    backbone : str
        Name of a timm image model.
    metadata_width : int
        Numbers a row; 0 leaves the metadata branch out.
    in_channels : int
        3, or 4 with the mask as a channel.
    image_size : int, optional
        Side of the input in pixels; only networks of a fixed size (transformers) look at it.
    dropout : float
        Dropout before the last layer.
    metadata_hidden, metadata_dropout
        As in `MetadataMLP`.

    Raises
    ------
    UsageError
        timm knows no such backbone.
    """

    def __init__(
        self,
        *,
        backbone: str = "tf_efficientnet_lite0",
        metadata_width: int = 0,
        in_channels: int = 3,
        image_size: int | None = None,
        dropout: float = 0.5,
        metadata_hidden: Sequence[int] = (512, 128),
        metadata_dropout: float = 0.3,
    ) -> None:
        super().__init__()
        import timm

        if not timm.is_model(backbone.split(".")[0]):
            raise unknown_name("backbone", backbone, timm.list_models())
        # Transformers are built for one size; convolutional networks take any.
        fixed = getattr(timm.get_pretrained_cfg(backbone), "fixed_input_size", False)
        sized: dict[str, Any] = {"img_size": image_size} if fixed and image_size else {}
        self.backbone = timm.create_model(
            backbone, pretrained=False, num_classes=0, in_chans=in_channels, **sized
        )
        cfg: Any = self.backbone.pretrained_cfg
        # The mask channel has no statistics of its own; a half keeps it in the same range.
        self.mean = (*map(float, cfg["mean"]), 0.5)[:in_channels]
        self.std = (*map(float, cfg["std"]), 0.5)[:in_channels]
        width: int = self.backbone.head_hidden_size  # type: ignore[assignment]
        self.metadata_mlp: MetadataMLP | None = None
        if metadata_width:
            self.metadata_mlp = MetadataMLP(metadata_width, metadata_hidden, metadata_dropout)
            width += self.metadata_mlp.out_width
        self.head = MultiSampleDropoutHead(width, dropout)
        self.architecture = {
            "name": "late_fusion",
            "backbone": backbone,
            "metadata_width": metadata_width,
            "in_channels": in_channels,
            "image_size": image_size,
            "dropout": dropout,
            "metadata_hidden": list(metadata_hidden),
            "metadata_dropout": metadata_dropout,
        }

    def features(self, image: Tensor, metadata: Tensor) -> Tensor:
        """Return pooled image features and encoded metadata side by side, (B, F)."""
        pooled = self.backbone(image)
        if self.metadata_mlp is None:
            return pooled
        return torch.cat([pooled, self.metadata_mlp(metadata)], dim=1)

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits, (B,)."""
        return self.head(features)
