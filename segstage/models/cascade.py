"""A cascade: a coarse segmenter says where, a prompted one draws the outline."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from lesioncore.errors import LesionError, UsageError
from segstage.models._prompted import PromptedSegmenter, resized, truth_prompts
from segstage.models._registry import Segmenter, create_segmenter, register, segmenter_class
from segstage.prompts import Prompt, mask_prompt, whole_image
from weights.imagenet import ImageNetRecord

_KIND = "segmenter"


@register("cascade")
class Cascade(Segmenter):
    """A coarse segmenter whose mask becomes the prompt of LiteMedSAM or SAM.

    Both networks lie in one state dict. The coarse one stays as it is while the other learns. An
    image in which the coarse one finds nothing keeps its probabilities.

    Parameters
    ----------
    coarse : path, str or mapping
        Weights of any segmenter: a run folder with one member, a weights folder, or a shipped
        name. A mapping of `create_segmenter`'s arguments rebuilds one without weights, which is
        how a saved cascade is loaded.
    prompted : str or mapping
        A prompted segmenter by name, or with its options: ``{name: sam, encoder: vit_b}``.
    encoder_weights : str
        Of the prompted segmenter.
    coarse_size : int, optional
        Side of the coarse segmenter's pictures; known where `coarse` is a path.
    margin : float
        By which the box of the coarse mask grows, see `segstage.prompts.mask_prompt`.
    blend : float in [0, 1]
        Part of the coarse probabilities in the result.
    train_prompt : {"coarse", "truth"}
        Learn from jittered boxes of the coarse mask, or of the truth. A coarse segmenter that saw
        the same images draws better boxes on them than it will later; the jitter makes up for it.
    threshold : float
        From which a coarse probability is lesion.
    """

    summary = "any segmenter, then LiteMedSAM or SAM prompted by its mask (coarse: RUN)"
    has_encoder = False

    def __init__(
        self,
        coarse: str | Path | Mapping[str, Any] | None = None,
        prompted: str | Mapping[str, Any] = "lite_medsam",
        encoder_weights: str = "auto",
        coarse_size: int | None = None,
        margin: float = 0.05,
        blend: float = 0.5,
        train_prompt: str = "coarse",
        threshold: float = 0.5,
    ) -> None:
        super().__init__()
        if not 0 <= blend <= 1 or not 0 <= margin < 1 or train_prompt not in ("coarse", "truth"):
            raise UsageError(
                f"blend is {blend}, margin {margin}, train_prompt {train_prompt!r}",
                wanted="blend within [0, 1], margin of 0 to below 1, train_prompt coarse or truth",
            )
        self.coarse, size, first, self.built_on = _coarse(coarse, coarse_size, encoder_weights)
        self.coarse_size, self.margin, self.blend = size, float(margin), float(blend)
        self.train_prompt, self.threshold = train_prompt, float(threshold)
        self.coarse.requires_grad_(False)
        self.prompted = _prompted(prompted, encoder_weights)
        options = {
            "coarse": self.coarse.architecture,
            "prompted": self.prompted.architecture,
            "coarse_size": size,
            "margin": self.margin,
            "blend": self.blend,
            "train_prompt": train_prompt,
            "threshold": self.threshold,
        }
        second = ImageNetRecord(**self.prompted.origin)
        origin = dataclasses.replace(
            second,
            source=" + ".join(part.source for part in (first, second)),
            sha256=" + ".join(part.sha256 for part in (first, second) if part.sha256),
            licence="; ".join(part.licence for part in (first, second) if part.licence),
        )
        mean, std = (tuple(self.prompted.normalisation[key]) for key in ("mean", "std"))
        self.describe(options, mean, std, origin)
        # A new module trains, and Lightning leaves it so: what is frozen must be told.
        self.train()

    @property
    def trainable(self) -> bool:  # type: ignore[override]
        """Whether the prompted network has anything left to learn."""
        return self.prompted.trainable

    def embedding_key(self) -> dict[str, Any] | None:
        """Return the key of the prompted network's embeddings, which are its own."""
        return self.prompted.embedding_key()

    def embed(self, images: Tensor) -> Tensor:
        """Return the prompted network's embeddings of normalised images."""
        return self.prompted.embed(images)

    def train(self, mode: bool = True) -> Cascade:
        """Switch to training; the coarse network stays as it predicts."""
        super().train(mode)
        self.coarse.eval()
        return self

    def forward(self, images: Tensor, embeddings: Tensor | None = None) -> Tensor:
        """Return logits (B, 1, H, W) of normalised images (B, 3, H, W).

        Parameters
        ----------
        images : (B, 3, H, W) float32
        embeddings : (B, C, h, w) float, optional
            What `embed` gave for these images.
        """
        coarse = self.coarse_probability(images)
        prompts = self.coarse_prompts(coarse)
        found = self.embed(images) if embeddings is None else embeddings
        logits = self.prompted.decode(found, [one or whole_image() for one in prompts])
        fine = interpolate(logits, images.shape[2:], mode="bilinear").float().sigmoid()
        wide = interpolate(coarse, images.shape[2:], mode="bilinear")
        empty = torch.tensor([one is None for one in prompts], device=images.device)
        part = torch.where(empty, 1.0, self.blend).view(-1, 1, 1, 1)
        return torch.logit(part * wide + (1 - part) * fine, eps=1e-6)

    def loss(
        self,
        images: Tensor,
        truth: Tensor,
        criterion: Callable[[Tensor, Tensor], Tensor],
        embeddings: Tensor | None = None,
    ) -> Tensor:
        """Return the criterion of the prompted network's own masks, before any blending."""
        if self.train_prompt == "truth":
            prompts = truth_prompts(truth)
        else:
            found = self.coarse_prompts(self.coarse_probability(images))
            prompts = [one or whole_image() for one in found]
        return self.prompted.prompted_loss(images, truth, criterion, prompts, embeddings)

    @torch.no_grad()
    def coarse_probability(self, images: Tensor) -> Tensor:
        """Return the coarse probabilities (B, 1, coarse_size, coarse_size) float32."""
        pixels = resized(images.float() * self.std + self.mean, self.coarse_size)
        small = (pixels - self.coarse.mean) / self.coarse.std
        return self.coarse(small).float().sigmoid()  # type: ignore[no-any-return]

    def coarse_prompts(self, probability: Tensor) -> list[Prompt | None]:
        """Return the prompt of each coarse mask (B, 1, h, w); None of an empty one."""
        masks = (probability[:, 0] >= self.threshold).cpu().numpy()
        return [mask_prompt(mask, self.margin) for mask in masks]

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return what is pretrained: of the prompted network."""
        return self.prompted.encoder_parameters()


def _coarse(
    given: str | Path | Mapping[str, Any] | None, size: int | None, encoder_weights: str
) -> tuple[Segmenter, int, ImageNetRecord, Path | None]:
    """Return the coarse segmenter, its pictures' side, the record and folder of its weights."""
    from weights.resolve import resolve
    from weights.store import fill_network, load_weights

    if isinstance(given, Mapping):
        if encoder_weights != "none" or size is None:
            raise UsageError(
                "the coarse segmenter is given as an architecture, which has no weights",
                wanted="coarse: the run folder of a trained segmenter",
                mend="segstage train --out RUN, then --arch_options '{coarse: RUN}'",
            )
        made = create_segmenter(**dict(given), encoder_weights="none")
        return made, size, ImageNetRecord("none"), None
    if given is None:
        raise UsageError(
            "a cascade needs a coarse segmenter",
            wanted="--arch_options '{coarse: RUN}' with a run folder of `segstage train`",
        )
    home = resolve(str(given), kind=_KIND)
    if home.is_dir() and (home / "run.json").is_file():
        members = sorted(home.glob("member-*"))
        if len(members) != 1:
            raise LesionError(
                f"{home} holds {len(members)} members",
                wanted="one coarse segmenter",
                mend=f"--arch_options '{{coarse: {home}/member-0}}'",
            )
        home = members[0]
    state, card = load_weights(home, kind=_KIND)
    options = dict(card.architecture)
    segmenter = create_segmenter(options.pop("name"), **options, encoder_weights="none")
    fill_network(segmenter, state, home)
    origin = ImageNetRecord(f"coarse:{card.name}", card.sha256, card.licence)
    return segmenter, int(card.preprocessing["size"]), origin, home


def _prompted(given: str | Mapping[str, Any], encoder_weights: str) -> PromptedSegmenter:
    options = {"name": given} if isinstance(given, str) else dict(given)
    name = str(options.pop("name", ""))
    if not issubclass(segmenter_class(name), PromptedSegmenter):
        raise UsageError(
            f"segmenter {name!r} takes no prompt", wanted="prompted: lite_medsam or sam"
        )
    made = create_segmenter(name, **{"encoder_weights": encoder_weights, **options})
    assert isinstance(made, PromptedSegmenter)
    return made
