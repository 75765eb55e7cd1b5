"""AlexNet for teaching, with the interface of timm's networks and torchvision's names of tensors.

Krizhevsky: One weird trick for parallelizing convolutional neural networks, arXiv 1404.5997.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from clsstage.encoders.records import ALEXNET, encoder_record
from weights.imagenet import ImageNetRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

# Of each convolution: filters, kernel, stride, padding, and whether a pooling follows.
_CONVOLUTIONS = (
    (64, 11, 4, 2, True),
    (192, 5, 1, 2, True),
    (384, 3, 1, 1, False),
    (256, 3, 1, 1, False),
    (256, 3, 1, 1, True),
)
_GRID = 6
_HIDDEN = 4096


class AlexNet(nn.Module):
    """Five convolutions and two of the three linear layers; the last is the fusion's.

    Attributes
    ----------
    num_features : int
        Channels of the last maps, 256.
    head_hidden_size : int
        Features after `forward_head`, 4096.
    pretrained_cfg : dict
        Record of torchvision's weights in timm's terms.
    """

    num_features = _CONVOLUTIONS[-1][0]
    head_hidden_size = _HIDDEN

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = in_channels
        for filters, kernel, stride, padding, pooled in _CONVOLUTIONS:
            layers += [nn.Conv2d(width, filters, kernel, stride, padding), nn.ReLU(inplace=True)]
            if pooled:
                layers.append(nn.MaxPool2d(3, 2))
            width = filters
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(_GRID)
        self.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Linear(width * _GRID**2, _HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.ReLU(inplace=True),
        )
        record = encoder_record(ALEXNET)
        self.pretrained_cfg: dict[str, Any] = {
            "architecture": ALEXNET,
            "tag": record.name.partition(".")[2],
            "input_size": (3, record.size, record.size),
            "mean": record.mean,
            "std": record.std,
            "license": record.licence,
            "url": record.origin,
            "first_conv": "features.0",
            "classifier": "classifier.6",
        }

    def forward_features(self, image: Tensor) -> Tensor:
        """Return the last maps (B, 256, h, w) of images (B, C, H, W) of at least 63 pixels."""
        return self.features(image)  # type: ignore[no-any-return]

    def forward_head(self, maps: Tensor) -> Tensor:
        """Return the features (B, 4096) of maps (B, 256, h, w)."""
        return self.classifier(torch.flatten(self.avgpool(maps), 1))  # type: ignore[no-any-return]

    def forward(self, image: Tensor) -> Tensor:
        """Return the features (B, 4096) of images (B, C, H, W)."""
        return self.forward_head(self.forward_features(image))

    def group_matcher(self, coarse: bool = False) -> Mapping[str, str]:
        """Return timm's rule that orders the parameters by depth."""
        return {"features": r"^features\.(\d+)", "classifier": r"^classifier\.(\d+)"}


def fetch_alexnet() -> tuple[dict[str, Tensor], ImageNetRecord]:
    """Return torchvision's tensors, from its hub or this machine's copy, and their record."""
    from torchvision.models import AlexNet_Weights

    weights = AlexNet_Weights.IMAGENET1K_V1
    state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    record = encoder_record(ALEXNET)
    return dict(state), ImageNetRecord(f"hub:{weights.url}", licence=record.licence)
