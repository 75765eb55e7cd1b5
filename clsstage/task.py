"""What the Trainer trains: network, loss, optimiser and the score of validation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clsstage.average import WeightAverage
from clsstage.classifier import Classifier
from clsstage.encoders import rate_groups
from clsstage.hard_negatives import HardNegatives
from clsstage.losses import create_loss
from clsstage.mask_decoder import MaskDecoder, mask_levels, mask_loss
from clsstage.targets import Target
from lesioncore.config import FitOptions
from lesioncore.errors import LesionError
from lesioncore.metrics import partial_auc, roc_auc
from lesioncore.training import optimiser_and_schedule

MONITOR = "val_auc"


@dataclass(frozen=True)
class Learning:
    """How a classifier learns, beside rate and epochs.

    Attributes
    ----------
    target : Target
    loss : str
        See `clsstage.losses.create_loss`.
    priors : (K,) tuple of float
        How often an epoch shows each class.
    offset : (K,) tuple of float
        Added to the outputs in validation, as it will be in prediction.
    ema : float
        Decay of the running average of the weights, which is what is validated; 0 for none.
    label_smoothing : float
        Pulls targets this far from 0 and 1.
    mixup : float
        Alpha of the Beta distribution by which two images are mixed; 0 for none.
    aux_mask : float
        Weight of the mask loss, 0 to below 1; the class loss has the rest.
    encoder_lr_factor, layer_decay : float
        Rate of the encoder as a part of the head's, and of each of its layers of the next.
    """

    target: Target = field(default_factory=Target)
    loss: str = "cross_entropy"
    priors: tuple[float, ...] = (0.5,)
    offset: tuple[float, ...] = (0.0,)
    ema: float = 0.0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    aux_mask: float = 0.0
    encoder_lr_factor: float = 1.0
    layer_decay: float = 1.0


class ClassifierTask(pl.LightningModule):
    """Trains a classifier on batches of `clsstage.dataset.TrainingDataset`.

    Logs `train_loss`, `val_loss` (of the logit of malignancy), `val_auc` and `val_pauc` (ISIC 2024,
    0 to 0.2).

    Parameters
    ----------
    network : Classifier
    options : FitOptions
        Rate, epochs, decay.
    steps_per_epoch : int
    learning : Learning
    hard : HardNegatives, optional
        Told the logits of every image of an epoch.
    """

    def __init__(
        self,
        network: Classifier,
        options: FitOptions,
        steps_per_epoch: int,
        learning: Learning | None = None,
        hard: HardNegatives | None = None,
    ) -> None:
        super().__init__()
        learning = learning or Learning()
        # Half as fast again on CPUs as the default layout, and what tensor cores want on GPUs.
        self.network = network.to(memory_format=torch.channels_last)
        self.average = WeightAverage(network, learning.ema) if learning.ema else None
        self.options = options
        self.steps_per_epoch = steps_per_epoch
        self.learning = learning
        self.hard = hard
        self.loss = create_loss(learning.loss, torch.tensor(learning.priors, dtype=torch.float32))
        self.levels: list[int] = []
        self.decoder: nn.Module | None = None
        if learning.aux_mask:
            side = network.architecture["image_size"] or 96
            self.levels, channels = mask_levels(
                network.encoder, side, network.architecture["in_channels"]
            )
            self.decoder = MaskDecoder(channels)
        self._seen: list[tuple[Tensor, Tensor]] = []

    @property
    def result(self) -> Classifier:
        """The network to keep: the average where there is one. The mask decoder is dropped."""
        return self.network if self.average is None else self.average.network  # type: ignore[return-value]

    def training_step(self, batch: dict[str, Any], _index: int) -> Tensor:
        """Return the loss of a batch."""
        refuse_unread(batch)
        image, metadata = _channels_last(batch["image"]), batch["metadata"]
        truth, known, rows = self._truth(batch), batch["mask_known"], batch["row"]
        if self.learning.mixup:
            image, metadata, truth, known, rows = _mixed(
                self.learning.mixup, image, metadata, truth, known, rows
            )
        if self.decoder is None:
            outputs = self.network(image, metadata)
            loss = self.loss(outputs, truth)
        else:
            outputs, maps = self.network.with_levels(image, metadata, self.levels)
            # The mask is the last plane, normalised to -1 to 1 like a channel.
            masks = mask_loss(self.decoder(maps), image[:, 3:4] * 0.5 + 0.5, known)
            part = self.learning.aux_mask
            loss = (1 - part) * self.loss(outputs, truth) + part * masks
            self.log("train_mask_loss", masks, on_step=False, on_epoch=True, batch_size=len(image))
        if self.hard is not None:
            self.hard.record(rows, self.learning.target.logit(outputs.detach()))
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(image))
        return loss

    def _truth(self, batch: dict[str, Any]) -> Tensor:
        """Return the smoothed targets of a batch, (B, outputs)."""
        smoothing, classes = self.learning.label_smoothing, self.learning.target.outputs
        if classes == 1:
            target: Tensor = batch["target"][:, None]
            return target * (1 - 2 * smoothing) + smoothing
        one_hot = F.one_hot(batch["class"], classes).to(batch["target"])
        return one_hot * (1 - smoothing) + smoothing / classes

    def on_train_batch_end(self, *_arguments: Any) -> None:
        """Let the average follow."""
        if self.average is not None:
            self.average.update(self.network)

    def on_train_epoch_end(self) -> None:
        """Keep what the next epoch's draw of hard negatives needs."""
        if self.hard is not None:
            self.hard.save(self.current_epoch)

    def validation_step(self, batch: dict[str, Any], _index: int) -> None:
        """Keep logits and targets for the end of the epoch."""
        refuse_unread(batch)
        outputs = self.result(_channels_last(batch["image"]), batch["metadata"])
        offset = torch.tensor(self.learning.offset, device=outputs.device)
        logits = self.learning.target.logit(outputs.float() + offset)
        self._seen.append((logits.cpu(), batch["target"].cpu()))

    def on_validation_epoch_end(self) -> None:
        """Log loss and AUC over all validation images."""
        logits = torch.cat([logit for logit, _ in self._seen])
        target = torch.cat([target for _, target in self._seen])
        self._seen.clear()
        y, s = target.numpy().astype(np.float64), logits.numpy().astype(np.float64)
        self.log("val_loss", F.binary_cross_entropy_with_logits(logits, target))
        self.log(MONITOR, float(roc_auc(y, s)), prog_bar=True)
        self.log("val_pauc", float(partial_auc(y, s)))

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine; biases and norms do not decay."""
        inside = {id(p) for p in self.network.encoder.parameters()}
        trained = [*self.network.parameters()]
        if self.decoder is not None:
            trained += self.decoder.parameters()
        groups = rate_groups(
            self.network.encoder,
            [p for p in trained if id(p) not in inside and p.requires_grad],
            lr=self.options.lr,
            backbone=self.learning.encoder_lr_factor,
            layer_decay=self.learning.layer_decay,
        )
        return optimiser_and_schedule(groups, self.options, self.steps_per_epoch)


def _mixed(
    alpha: float, image: Tensor, metadata: Tensor, truth: Tensor, known: Tensor, rows: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return a batch mixed with itself in another order (Zhang et al., arXiv 1710.09412).

    A mixed image goes by the row that it shows most of.
    """
    # Torch's own generator is seeded anew each epoch, so a resumed run draws the same.
    part = float(torch.distributions.Beta(alpha, alpha).sample())
    other = torch.randperm(len(image)).to(image.device)
    return (
        torch.lerp(image[other], image, part),
        torch.lerp(metadata[other], metadata, part),
        torch.lerp(truth[other], truth, part),
        known & known[other],
        rows if part >= 0.5 else rows[other.to(rows.device)],
    )


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def refuse_unread(batch: dict[str, Any]) -> None:
    """Raise a `LesionError` for the first image of a batch that could not be read."""
    for reason in batch["reason"]:
        if reason:
            raise LesionError(
                reason,
                wanted="an image and a mask that are whole and belong together",
                mend="fetch the image again, run segstage cache again, and train into a new --out",
            )
