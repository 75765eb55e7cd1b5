"""LiteMedSAM's image encoder, built from timm's TinyViT modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segment_anything.modeling.common import LayerNorm2d
from timm.models.tiny_vit import ConvLayer, ConvNorm, PatchMerging, TinyVitStage
from torch import Tensor, nn

_WINDOWS = (7, 7, 14, 7)
_HEAD = 32


class TinyVitEncoder(nn.Module):
    """TinyViT (Wu et al., ECCV 2022) as LiteMedSAM changed it: fine, and thus slow.

    Its stem does not shrink the picture (1x1 convolutions of stride 1) and its last stage keeps
    the scale of the third, so the embedding is a quarter of the picture on a side.

    Parameters
    ----------
    widths : sequence of 4 int
        Channels of the stages; multiples of 32 (the size of an attention head).
    depths : sequence of 4 int
        Blocks of the stages.
    channels : int
        Of the embedding.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 160, 320),
        depths: Sequence[int] = (2, 2, 6, 2),
        channels: int = 256,
    ) -> None:
        super().__init__()
        first = widths[0]
        self.patch_embed = nn.Sequential(
            ConvNorm(3, first // 2), nn.GELU(), ConvNorm(first // 2, first)
        )
        self.stages = nn.Sequential(ConvLayer(first, depths[0], nn.GELU))
        for number in (1, 2, 3):
            stage = TinyVitStage(
                widths[number - 1],
                widths[number],
                depths[number],
                widths[number] // _HEAD,
                _WINDOWS[number],
                downsample=PatchMerging,
            )
            self.stages.append(stage)
        last: Any = self.stages[3]
        # timm's merging always halves; here the last one does not.
        last.downsample.conv2.conv.stride = (1, 1)
        self.neck = nn.Sequential(
            nn.Conv2d(widths[-1], channels, 1, bias=False),
            LayerNorm2d(channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            LayerNorm2d(channels),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, channels, H/4, W/4) of images (B, 3, H, W) in [0, 1]."""
        return self.neck(self.stages(self.patch_embed(images)))  # type: ignore[no-any-return]
