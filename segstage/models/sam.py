"""SAM (segment-anything), prompted by a box that it finds by itself."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from segment_anything.modeling import ImageEncoderViT

from lesioncore.errors import LesionError, unknown_name
from lesioncore.files import sha256_file
from segstage.models._prompted import PromptedSegmenter
from segstage.models._registry import register
from segstage.models._sam_network import PromptedNetwork
from weights.imagenet import ImageNetRecord, fill, read_tensors


class _Size(NamedTuple):
    width: int
    depth: int
    heads: int
    whole: tuple[int, ...]  # blocks that attend to the whole picture
    picture: int = 1024
    patch: int = 16
    channels: int = 256


#: `tiny` is for tests: a few milliseconds a picture, no weights anywhere.
_SIZES = {
    "vit_b": _Size(768, 12, 12, (2, 5, 8, 11)),
    "vit_l": _Size(1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": _Size(1280, 32, 16, (7, 15, 23, 31)),
    "tiny": _Size(32, 2, 2, (1,), picture=64, patch=8, channels=32),
}


@register("sam")
class Sam(PromptedSegmenter):
    """SAM (Kirillov et al., ICCV 2023), with the weights of Meta, MedSAM or any of its shape.

    Its picture is 1024 px: working resolutions are scaled up to it, so `--size 512` or more keeps
    what it can see.

    Parameters
    ----------
    encoder : {"vit_b", "vit_l", "vit_h", "tiny"}
    encoder_weights : str
        Path of a checkpoint (``sam_vit_b_01ec64.pth``, ``medsam_vit_b.pth``), or "none".
    prompt, point, train_prompt, box_jitter, tune, lora_rank
        See `PromptedSegmenter.settle`.
    """

    summary = "SAM with automatic prompts; --encoder vit_b, vit_l, vit_h; weights from a file"

    def __init__(
        self,
        encoder: str = "vit_b",
        encoder_weights: str = "none",
        prompt: str = "saliency",
        point: bool = False,
        train_prompt: str = "truth",
        box_jitter: float = 0.1,
        tune: str = "decoder",
        lora_rank: int = 0,
    ) -> None:
        super().__init__()
        if encoder not in _SIZES:
            raise unknown_name("encoder of SAM", encoder, tuple(_SIZES))
        size = _SIZES[encoder]
        self.image_size = size.picture
        grid = size.picture // size.patch
        vit = ImageEncoderViT(
            depth=size.depth,
            embed_dim=size.width,
            img_size=size.picture,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            num_heads=size.heads,
            patch_size=size.patch,
            use_rel_pos=True,
            global_attn_indexes=size.whole,
            window_size=14,
            out_chans=size.channels,
        )
        self.network = PromptedNetwork(vit, size.picture, grid, size.channels)
        origin = self._load(encoder, encoder_weights)
        options = self.settle(
            prompt=prompt,
            point=point,
            train_prompt=train_prompt,
            box_jitter=box_jitter,
            tune=tune,
            lora_rank=lora_rank,
        )
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        self.describe({"encoder": encoder, **options}, mean, std, origin)

    def _load(self, encoder: str, source: str) -> ImageNetRecord:
        if source == "none":
            return ImageNetRecord("none")
        path = Path(source)
        if source in ("auto", "offline", "hub") or not path.is_file():
            raise LesionError(
                f"no package or hub gives us weights of SAM {encoder}"
                if source in ("auto", "offline", "hub")
                else f"no such weights of SAM: {source}",
                wanted="the path of a SAM checkpoint, such as sam_vit_b_01ec64.pth",
                mend="--encoder-weights PATH, or none for random ones",
            )
        fill(self.network, read_tensors(path), str(path))
        return ImageNetRecord(f"file:{path.name}", sha256_file(path), "unknown: a local file")
