"""The base of segmenters that are told where to look: SAM and its kin, fed with batches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate

from lesioncore.errors import UsageError, unknown_name
from segstage.models._lora import add_lora
from segstage.models._registry import Segmenter
from segstage.models._sam_network import PromptedNetwork
from segstage.prompts import (
    Prompt,
    centre_prior,
    jitter,
    mask_prompt,
    saliency_prompt,
    whole_image,
)

#: Where the prompt comes from; ``coarse`` is the cascade's.
AutoPrompt = Literal["saliency", "centre", "image"]
#: What learns: the mask decoder, or nothing.
Tune = Literal["decoder", "none"]


class PromptedSegmenter(Segmenter):
    """A network that is given an image and a box, here a box that it finds by itself.

    A member builds a `PromptedNetwork`, fills it and calls `settle`.
    """

    network: PromptedNetwork
    #: Side of the network's own picture in pixels; working resolutions are resized to it.
    image_size: int

    def settle(
        self,
        *,
        prompt: str,
        point: bool,
        train_prompt: str,
        box_jitter: float,
        tune: str,
        lora_rank: int,
    ) -> dict[str, Any]:
        """Freeze what does not learn, put the adapters in, and return the checked options.

        Parameters
        ----------
        prompt : {"saliency", "centre", "image"}
            The automatic prompt: what differs from the border skin, a box around the centre, or
            the whole picture. A box from another segmenter's mask is what `cascade` is for.
        point : bool
            Give a point on the lesion beside the box (SAM learned on points; LiteMedSAM did not).
        train_prompt : {"truth", "auto"}
            Learn from jittered boxes of the truth, or from jittered automatic prompts. Scores are
            always of automatic prompts.
        box_jitter : float
            How far a side of a training box moves, as a part of the box.
        tune : {"decoder", "none"}
            What learns; with "none" (and no `lora_rank`) the network is used as it was published.
        lora_rank : int
            Rank of adapters on the image encoder's attention; 0 leaves it frozen.
        """
        for what, value, known in (
            ("prompt", prompt, get_args(AutoPrompt)),
            ("train_prompt", train_prompt, ("truth", "auto")),
            ("tune", tune, get_args(Tune)),
        ):
            if what == "prompt" and value == "coarse":
                raise UsageError(
                    f"segmenter {self.name!r} has no coarse segmenter to take its prompt from",
                    wanted=f"prompt: one of {', '.join(known)}",
                    mend="--arch cascade --arch_options '{coarse: RUN, prompted: "
                    f"{{name: {self.name}}}}}'",
                )
            if value not in known:
                raise unknown_name(what, value, known)
        if lora_rank < 0 or not 0 <= box_jitter < 0.5:
            raise UsageError(
                f"lora_rank is {lora_rank} and box_jitter {box_jitter}",
                wanted="a rank of 0 or more, and a jitter of 0 to below 0.5",
            )
        self.prompt, self.point, self.train_prompt = prompt, point, train_prompt
        self.box_jitter, self.tune, self.lora_rank = box_jitter, tune, lora_rank
        self.network.requires_grad_(False)
        decoder = self.network.mask_decoder
        if tune == "decoder":
            decoder.requires_grad_(True)
            # The heads for several objects and for the expected overlap are not asked.
            decoder.iou_prediction_head.requires_grad_(False)
            decoder.output_hypernetworks_mlps[1:].requires_grad_(False)
        if lora_rank:
            add_lora(self.network.image_encoder, lora_rank)
        # A new module trains, and Lightning leaves it so: what is frozen must be told.
        self.train()
        return {
            "prompt": prompt,
            "point": point,
            "train_prompt": train_prompt,
            "box_jitter": box_jitter,
            "tune": tune,
            "lora_rank": lora_rank,
        }

    @property
    def trainable(self) -> bool:  # type: ignore[override]
        """Whether anything is left to learn."""
        return self.tune != "none" or self.lora_rank > 0

    @property
    def frozen_features(self) -> bool:
        """Whether `embed` stays the same while training, so that its results can be kept."""
        return self.lora_rank == 0

    def embedding_key(self) -> dict[str, Any] | None:
        """Return the encoder's hash and what it sees; None with adapters, which change it."""
        if not self.frozen_features:
            return None
        return {
            "segmenter": self.name,
            "encoder_sha256": state_sha256(self.network.image_encoder.state_dict()),
            "image_size": self.image_size,
            **self.normalisation,
        }

    def train(self, mode: bool = True) -> PromptedSegmenter:
        """Switch to training; the image encoder's batch norm keeps its statistics."""
        super().train(mode)
        self.network.image_encoder.train(mode and self.lora_rank > 0)
        for module in self.network.image_encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def embed(self, images: Tensor) -> Tensor:
        """Return embeddings (B, C, h, w) of normalised images (B, 3, H, W)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen_features):
            return self.network.image_encoder(self.fit(images))  # type: ignore[no-any-return]

    def fit(self, images: Tensor) -> Tensor:
        """Return images at the network's own size, (B, 3, image_size, image_size)."""
        return resized(images, self.image_size)

    def decode(self, embeddings: Tensor, prompts: Sequence[Prompt]) -> Tensor:
        """Return logits (B, 1, 4h, 4w) of embeddings and a prompt for each."""
        sparse, dense = self._embed_prompts(prompts)
        position = self.network.prompt_encoder.get_dense_pe()
        logits: Tensor = self.network.mask_decoder(embeddings.float(), position, sparse, dense)
        return logits

    def forward(self, images: Tensor, embeddings: Tensor | None = None) -> Tensor:
        """Return logits (B, 1, H, W) of normalised images (B, 3, H, W), by automatic prompts.

        Parameters
        ----------
        images : (B, 3, H, W) float32
        embeddings : (B, C, h, w) float, optional
            What `embed` gave for these images.
        """
        found = self.embed(images) if embeddings is None else embeddings
        logits = self.decode(found, self.prompts(images))
        return interpolate(logits, images.shape[2:], mode="bilinear")

    def loss(
        self,
        images: Tensor,
        truth: Tensor,
        criterion: Callable[[Tensor, Tensor], Tensor],
        embeddings: Tensor | None = None,
    ) -> Tensor:
        """Return the criterion of the masks that training prompts give."""
        prompts = truth_prompts(truth) if self.train_prompt == "truth" else self.prompts(images)
        return self.prompted_loss(images, truth, criterion, prompts, embeddings)

    def prompted_loss(
        self,
        images: Tensor,
        truth: Tensor,
        criterion: Callable[[Tensor, Tensor], Tensor],
        prompts: Sequence[Prompt],
        embeddings: Tensor | None = None,
    ) -> Tensor:
        """Return the criterion of the masks that given prompts give, after jitter."""
        found = self.embed(images) if embeddings is None else embeddings
        logits = self.decode(found, jittered(prompts, self.box_jitter))
        return criterion(interpolate(logits, truth.shape[2:], mode="bilinear"), truth)

    def prompts(self, images: Tensor) -> list[Prompt]:
        """Return the automatic prompt of each normalised image (B, 3, H, W)."""
        if self.prompt == "image":
            return [whole_image()] * len(images)
        if self.prompt == "centre":
            return [centre_prior()] * len(images)
        return [saliency_prompt(p) or whole_image() for p in self.pixels(images)]

    def pixels(self, images: Tensor) -> NDArray[np.uint8]:
        """Return (B, H, W, 3) uint8 RGB of normalised images: the inverse of `prepare`."""
        plain = (images.detach().float() * self.std + self.mean).round_().clamp_(0, 255)
        return np.asarray(plain.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return what is pretrained and may learn: the decoder. New adapters learn faster."""
        return list(self.network.mask_decoder.parameters())

    def _embed_prompts(self, prompts: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
        device, size = self.mean.device, self.image_size
        corners = [_corners(one.box, size) for one in prompts]
        boxes = torch.tensor(corners, dtype=torch.float32, device=device)
        points = None
        if self.point:
            places = [one.point or (0.5, 0.5) for one in prompts]
            where = [[[size * x - 0.5, size * y - 0.5]] for y, x in places]
            # A label of -1 is SAM's for "no point".
            known = [[1 if one.point else -1] for one in prompts]
            points = (
                torch.tensor(where, dtype=torch.float32, device=device),
                torch.tensor(known, device=device),
            )
        return self.network.prompt_encoder(points=points, boxes=boxes, masks=None)  # type: ignore[no-any-return]


def truth_prompts(truth: Tensor) -> list[Prompt]:
    """Return the boxes of true masks (B, 1, H, W) in [0, 1], the whole picture of an empty one."""
    masks = (truth[:, 0] > 0.5).cpu().numpy()
    return [mask_prompt(mask, margin=0.0) or whole_image() for mask in masks]


def jittered(prompts: Sequence[Prompt], amount: float) -> list[Prompt]:
    """Return prompts with their boxes moved at random."""
    # From torch's generator, which is seeded by (seed, epoch): a resumed run repeats itself.
    noise = (2 * torch.rand(len(prompts), 4) - 1).numpy()
    return [jitter(one, drawn, amount) for one, drawn in zip(prompts, noise, strict=True)]


def resized(images: Tensor, size: int) -> Tensor:
    """Return images (B, C, H, W) at `size` x `size`: averaged on the way down, linear up."""
    if images.shape[2:] == (size, size):
        return images
    return interpolate(images, (size, size), mode="bilinear", antialias=True)


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of tensors: names, shapes, types and values."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def _corners(box: tuple[float, float, float, float], size: int) -> list[float]:
    """Return x0, y0, x1, y1 of the first and last pixel of a box, which SAM calls a box."""
    y0, x0, y1, x1 = box
    return [size * x0, size * y0, size * x1 - 1, size * y1 - 1]
