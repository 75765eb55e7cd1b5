"""Trained networks of a run and everything they need to look at an image as they learned to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clsstage.classifier import Classifier, create_classifier
from clsstage.masks import MaskTrust
from clsstage.metadata import MetadataEncoder
from clsstage.targets import Target, create_target
from clsstage.view import View
from lesioncore.errors import LesionError
from lesioncore.runs import Run
from weights.card import WeightCard
from weights.resolve import resolve
from weights.store import fill_network, load_weights

KIND = "classifier"
#: Words of a card for how many views are averaged.
VIEWS = {"none": 1, "flips": 4, "d4": 8}


@dataclass(frozen=True)
class Member:
    """One trained network.

    Attributes
    ----------
    number : int
        Its place in the run.
    network : Classifier
        On the CPU, in evaluation mode, until moved.
    view : View
        How it sees images.
    encoder : MetadataEncoder
        How it reads metadata.
    trust : MaskTrust
        Which masks it uses.
    target : Target
        What its outputs say.
    offset : (outputs,) tuple of float
        Added to its outputs, so that they speak of the prevalence of its archive.
    policy : str
        What it calls malignant.
    card : WeightCard
    """

    number: int
    network: Classifier
    view: View
    encoder: MetadataEncoder
    trust: MaskTrust
    target: Target
    offset: tuple[float, ...]
    policy: str
    card: WeightCard

    @torch.inference_mode()
    def outputs(self, images: Tensor, metadata: Tensor, views: int | None = None) -> Tensor:
        """Return the corrected outputs of a batch, (B, outputs) float32 on the CPU.

        Parameters
        ----------
        images : (B, planes, S, S) float32
        metadata : (B, width) float32
        views : int, optional
            How many flips and transposes are averaged (of outputs), 1 to 8; left out, as its card
            says.
        """
        count = views or VIEWS[self.card.preprocessing.get("tta", "none")]
        found = [self.network(view, metadata).float() for view in turned(images, count)]
        return torch.stack(found).mean(0).cpu() + torch.tensor(self.offset)

    def probabilities(self, images: Tensor, metadata: Tensor, views: int | None = None) -> Tensor:
        """Return (B, 1 + classes): that of malignancy, then of each class where there are any.

        Parameters as of `outputs`.
        """
        outputs = self.outputs(images, metadata, views)
        malignant = torch.sigmoid(self.target.logit(outputs))[:, None]
        return torch.cat([malignant, outputs.softmax(1)], 1) if self.target.classes else malignant


def preprocessing(
    view: View,
    encoder: MetadataEncoder,
    trust: MaskTrust,
    target: Target,
    offset: tuple[float, ...],
    policy: str,
    **more: Any,
) -> dict[str, Any]:
    """Return what a card keeps of a member beside its architecture; `read_member` reads it."""
    return {
        **view.to_dict(),
        "metadata": encoder.to_dict(),
        "min_score": trust.min_score,
        "min_quality": trust.min_quality,
        "target": target.name,
        "output_offset": list(offset),
        "policy": policy,
        **more,
    }


def build_member(number: int, network: Classifier, card: WeightCard) -> Member:
    """Return the member that a network and its card make."""
    values: Mapping[str, Any] = card.preprocessing
    # Cards of the first version know one output only.
    offset = values["output_offset"] if "output_offset" in values else [values["logit_offset"]]
    policy = str(values["policy"])
    return Member(
        number=number,
        network=network.eval(),
        view=View.from_dict(values),
        encoder=MetadataEncoder.from_dict(values["metadata"]),
        trust=MaskTrust(values["min_score"], values["min_quality"]),
        target=create_target(values.get("target", "binary"), policy),
        offset=tuple(map(float, offset)),
        policy=policy,
        card=card,
    )


def read_member(path: Path, number: int = 0) -> Member:
    """Return the member whose weights lie in a folder or file.

    Raises
    ------
    LesionError
        No weights there, or those of something else than a classifier.
    """
    state, card = load_weights(path, kind=KIND)
    network = create_classifier(**card.architecture)
    fill_network(network, state, path)
    return build_member(number, network, card)


def read_members(weights: str | Path | None) -> tuple[str, list[Member]]:
    """Return the name and the members of a run folder, a folder of weights, or a shipped name.

    None is the classifier that ships.

    Raises
    ------
    LesionError
        The run has not finished, or its members do not look at images alike.
    """
    path = resolve(weights, kind=KIND)
    if (path / "run.json").is_file():
        run = Run.load(path, "clsstage")
        members = [read_member(run.member(number), number) for number in range(run.members)]
        name = path.resolve().name
    else:
        members = [read_member(path)]
        name = members[0].card.name
    if len({(member.view, member.trust, member.policy, member.target) for member in members}) > 1:
        raise LesionError(
            f"the members of {path} look at images in different ways",
            wanted="members of one training",
        )
    return name, members


def turned(images: Tensor, count: int) -> list[Tensor]:
    """Return the first of the eight views: as it is, mirrored, upside down, both, transposed."""
    views = []
    for turned in (images, images.transpose(2, 3)):
        views += [turned, turned.flip(3), turned.flip(2), turned.flip((2, 3))]
    return views[:count]
