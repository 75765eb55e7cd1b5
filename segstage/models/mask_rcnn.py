"""Mask R-CNN with one class, the lesion, on any encoder of segmentation-models-pytorch or timm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN as TorchvisionMaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import FeaturePyramidNetwork, masks_to_boxes
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from lesioncore.errors import UsageError
from segstage.models._encoders import DEFAULT_ENCODER
from segstage.models._registry import register
from segstage.models._smp import SmpSegmenter

Instances = Literal["best", "union"]

_LEVELS = 4
_STRIDES = (4, 8, 16, 32, 64)
_RATIOS = (0.5, 1.0, 2.0)
_BOX_PIXELS = 7
_BOX_FEATURES = 256
#: Detections below this are none; torchvision's default.
_MIN_SCORE = 0.05
#: With ``union``, detections beside the best must be surer than not.
_UNION_SCORE = 0.5
#: Probability where no instance is; its logit is -9.2, which rounds to 0 in a cache.
_NOWHERE = 1e-4


class PyramidBackbone(nn.Module):
    """The last four maps of an smp encoder (1/4 to 1/32), a pyramid of them and one level more.

    Parameters
    ----------
    encoder : str
        Of smp or timm, without weights.
    channels : int
        Of each level, `out_channels`.
    """

    def __init__(self, encoder: str, channels: int, encoder_weights: str | None = None) -> None:
        super().__init__()
        self.encoder = smp.encoders.get_encoder(encoder, weights=encoder_weights)
        self.pyramid = FeaturePyramidNetwork(
            list(self.encoder.out_channels[-_LEVELS:]), channels, extra_blocks=LastLevelMaxPool()
        )
        self.out_channels = channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the levels "0" (1/4) to "3" (1/32) and "pool" (1/64) of (B, 3, H, W) images."""
        maps = self.encoder(images)[-_LEVELS:]
        levels: dict[str, Tensor] = self.pyramid({str(n): one for n, one in enumerate(maps)})
        return levels


@register("mask_rcnn")
class MaskRCNN(SmpSegmenter):
    """Mask R-CNN (He et al., ICCV 2017, arXiv 1703.06870) of torchvision, one class: lesion.

    The whole mask of a picture is one instance, even where it falls in several parts: pictures
    show one lesion, and its box is what all parts span. Pictures go through as they are, neither
    resized nor normalised again (torchvision's own transform is not used), with anchors of 16 px
    on the finest level to 362 px on the coarsest. 6.1 M parameters with the defaults, 3.0 M of
    them the encoder.

    Parameters
    ----------
    encoder, encoder_weights : str
        As of `segstage.models.unet.UNet`.
    instances : {"best", "union"}
        Which detections make the mask: the surest, or it and all others surer than 0.5 (at each
        pixel the most probable).
    pyramid_channels : int
        Channels of the pyramid and of the mask head.
    """

    exportable = False  # how many boxes it finds depends on the image
    summary = "torchvision's Mask R-CNN, one lesion class; {instances: best or union}"
    title = "Mask R-CNN"

    def __init__(
        self,
        encoder: str = DEFAULT_ENCODER,
        encoder_weights: str = "auto",
        instances: Instances = "best",
        pyramid_channels: int = 128,
    ) -> None:
        if instances not in get_args(Instances):
            raise UsageError(f"instances is {instances!r}", wanted=" or ".join(get_args(Instances)))
        super().__init__(
            _detector,
            encoder,
            encoder_weights,
            {"channels": pyramid_channels},
            {"instances": instances, "pyramid_channels": pyramid_channels},
        )
        self.instances = instances

    @property
    def encoder(self) -> Any:
        """The encoder of smp under the pyramid."""
        network: Any = self.network
        return network.backbone.encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of the lesion's instances.

        Parameters
        ----------
        images : (B, 3, H, W) float32, normalised
            H and W multiples of 32.

        Returns
        -------
        (B, 1, H, W) float32
            Of the mask's probability inside the boxes, -9.2 outside them and where nothing was
            detected. Without a gradient: training goes through `loss`.
        """
        training = self.network.training
        self.network.eval()
        try:
            with torch.no_grad():
                found, _ = self._detect(images, None)
        finally:
            self.network.train(training)
        size = (int(images.shape[-2]), int(images.shape[-1]))
        maps = torch.stack([self._merge(one, size) for one in found])
        return torch.logit(maps[:, None].clamp(_NOWHERE, 1 - _NOWHERE))

    def loss(
        self, images: Tensor, truth: Tensor, criterion: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Return the sum of Mask R-CNN's five losses; `criterion` is not used.

        They are those of the proposals (objectness, box), the box head (class, box) and the mask
        head. A picture whose mask is empty has no box and teaches the background.

        Parameters
        ----------
        images : (B, 3, H, W) float32
            Normalised.
        truth : (B, 1, H, W) float32 in [0, 1]
        criterion : callable
        """
        if not self.network.training:
            return criterion(self(images), truth)
        _, losses = self._detect(images, [_target(mask) for mask in truth[:, 0]])
        return torch.stack(list(losses.values())).sum()

    def _detect(
        self, images: Tensor, targets: list[dict[str, Tensor]] | None
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Return what torchvision's heads detect in each image, and their losses."""
        network: Any = self.network
        levels = network.backbone(images)
        # Boxes of hundreds of pixels have no place in half precision.
        with torch.autocast(images.device.type, enabled=False):
            levels = {name: level.float() for name, level in levels.items()}
            sizes = [(int(images.shape[-2]), int(images.shape[-1]))] * len(images)
            proposals, losses = network.rpn(ImageList(images, sizes), levels, targets)
            found, others = network.roi_heads(levels, proposals, sizes, targets)
        return found, {**losses, **others}

    def _merge(self, found: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
        """Return the probability map (H, W) of one image's detections, which come surest first."""
        scores = found["scores"]
        count = min(len(scores), 1)
        if self.instances == "union":
            count = max(count, int((scores > _UNION_SCORE).sum()))
        if count == 0:
            return torch.zeros(size, device=scores.device)
        pasted = paste_masks_in_image(found["masks"][:count], found["boxes"][:count], size)
        return torch.as_tensor(pasted[:, 0].amax(dim=0))


def _target(mask: Tensor) -> dict[str, Tensor]:
    """Return torchvision's target of a mask (H, W) float in [0, 1]: one instance, or none."""
    inside = (mask > 0.5)[None]
    if not inside.any():
        return {
            "boxes": mask.new_zeros((0, 4)),
            "labels": torch.zeros(0, dtype=torch.int64, device=mask.device),
            "masks": mask.new_zeros((0, *mask.shape)),
        }
    # torchvision's boxes are x0, y0, x1, y1 with the last pixel in them; ours end after it.
    box = masks_to_boxes(inside) + torch.tensor([0, 0, 1, 1], device=mask.device)
    return {
        "boxes": box.float(),
        "labels": torch.ones(1, dtype=torch.int64, device=mask.device),
        "masks": mask[None],
    }


def _detector(
    encoder: str, *, channels: int, encoder_weights: str | None = None
) -> TorchvisionMaskRCNN:
    """Return torchvision's Mask R-CNN with heads small enough for one class."""
    # Two sizes a level, half an octave apart: four and 5.7 strides.
    anchors = AnchorGenerator(
        tuple((4 * stride, int(4 * stride * 2**0.5)) for stride in _STRIDES),
        (_RATIOS,) * len(_STRIDES),
    )
    return TorchvisionMaskRCNN(
        PyramidBackbone(encoder, channels, encoder_weights),
        rpn_anchor_generator=anchors,
        # One object a picture: torchvision's numbers, for 800 px and many objects, only cost time.
        rpn_pre_nms_top_n_train=500,
        rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_train=200,
        rpn_post_nms_top_n_test=50,
        rpn_batch_size_per_image=64,
        box_head=TwoMLPHead(channels * _BOX_PIXELS**2, _BOX_FEATURES),
        box_predictor=FastRCNNPredictor(_BOX_FEATURES, 2),
        box_score_thresh=_MIN_SCORE,
        box_detections_per_img=5,
        box_batch_size_per_image=32,
        mask_head=MaskRCNNHeads(channels, (channels,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(channels, channels, 2),
    )
