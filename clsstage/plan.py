"""What the training of a member is made of: network, view, rows, sampling, and what they imply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from clsstage.classifier import Classifier, create_classifier, load_pretrained
from clsstage.config import TrainConfig
from clsstage.encoders import encoder_size
from clsstage.examples import Examples
from clsstage.focus_names import parse_focus
from clsstage.masks import MaskTrust
from clsstage.metadata import MetadataEncoder
from clsstage.priors import class_priors, first_bias, output_offset
from clsstage.sampling import ClassSampling, choose_sampling
from clsstage.start import start_from
from clsstage.synthetic_rows import with_synthetic
from clsstage.targets import Target, create_target
from clsstage.task import Learning
from clsstage.view import View
from weights.imagenet import ImageNetRecord


@dataclass(frozen=True)
class Plan:
    """The parts of a member's training.

    Attributes
    ----------
    network : Classifier
        Untrained, at first biases that predict what its epochs show.
    origin : ImageNetRecord
        Where its first weights came from.
    view : View
    encoder : MetadataEncoder
        Fitted on the real training rows.
    trust : MaskTrust
    target : Target
    examples : Examples
        The rows to learn from, synthetic ones last.
    real : (n,) float
        Labels of the real rows among them.
    own_masks : dict of str to str
        Mask files of the synthetic rows by image id.
    classes : (m,) int64
        Class of each row.
    sampling : ClassSampling
    priors : tuple of float
        How often an epoch shows each class.
    """

    network: Classifier
    origin: ImageNetRecord
    view: View
    encoder: MetadataEncoder
    trust: MaskTrust
    target: Target
    examples: Examples
    real: NDArray[np.floating]
    own_masks: dict[str, str]
    classes: NDArray[np.int64]
    sampling: ClassSampling
    priors: tuple[float, ...]

    def offset(self, loss: str) -> tuple[float, ...]:
        """Return what is added to the trained network's outputs; see `clsstage.priors`."""
        prior = self.sampling.prior_offset(self.examples.labels, self.real)
        return output_offset(loss, self.target, self.priors, prior)

    def learning(self, config: TrainConfig) -> Learning:
        """Return how the network learns."""
        return Learning(
            target=self.target,
            loss=config.loss,
            priors=self.priors,
            offset=self.offset(config.loss),
            ema=config.ema,
            label_smoothing=config.label_smoothing,
            mixup=config.mixup,
            aux_mask=config.aux_mask,
            encoder_lr_factor=config.encoder_lr_factor,
            layer_decay=config.layer_decay,
        )


def make_plan(config: TrainConfig, training: Examples) -> Plan:
    """Return the plan of a member that learns from `training`."""
    examples, own_masks = with_synthetic(training, config.synthetic)
    encoder = MetadataEncoder.fit(training.manifest, metadata_names(config))
    target = create_target(config.target, training.policy)
    network, origin = new_classifier(config, encoder.width, target)
    sampling = choose_sampling(training.labels, config.negative_ratio, config.positive_ratio)
    classes = target.truth(examples.manifest, examples.labels)
    priors = class_priors(target, classes, examples.labels, sampling)
    network.fusion.set_bias(first_bias(config.loss, priors))
    return Plan(
        network=network,
        origin=origin,
        view=View(
            config.focus,
            config.margin,
            config.blur,
            int(network.architecture["image_size"]),
            tuple(network.mean),
            tuple(network.std),
            mask_plane=config.mask_pool,
        ),
        encoder=encoder,
        trust=MaskTrust(config.min_score, config.min_quality),
        target=target,
        examples=examples,
        real=training.labels,
        own_masks=own_masks,
        classes=classes,
        sampling=sampling,
        priors=priors,
    )


def metadata_names(config: TrainConfig) -> list[str] | None:
    """Return the metadata that a config asks for; None where its fusion looks at none."""
    return None if config.fusion == "none" else cast("list[str] | None", config.metadata)


def new_classifier(
    config: TrainConfig, metadata_width: int, target: Target
) -> tuple[Classifier, ImageNetRecord]:
    """Return the untrained classifier of a config, and where its first weights came from."""
    network = create_classifier(
        config.fusion,
        encoder=config.encoder,
        metadata_width=metadata_width,
        in_channels=parse_focus(config.focus).channels,
        image_size=encoder_size(config.encoder) if config.size == "auto" else config.size,
        dropout=config.dropout,
        outputs=target.outputs,
        mask_pool=config.mask_pool,
    )
    if config.start is not None:
        return network, start_from(network, config.start)
    return network, load_pretrained(network, config.encoder_weights)
