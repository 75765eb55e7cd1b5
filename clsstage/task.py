"""What the Trainer trains: network, loss, optimiser and the score of validation."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clsstage.average import WeightAverage
from clsstage.classifier import Classifier
from lesioncore.config import FitOptions
from lesioncore.errors import LesionError
from lesioncore.metrics import partial_auc, roc_auc
from lesioncore.training import optimiser_and_schedule

MONITOR = "val_auc"


class ClassifierTask(pl.LightningModule):
    """Binary cross-entropy on the logit of malignancy.

    Logs `train_loss`, `val_loss`, `val_auc` and `val_pauc` (ISIC 2024, 0 to 0.2). With `ema`, the
    running average of the weights is what is validated.

    Parameters
    ----------
    network : Classifier
    options : FitOptions
        Rate, epochs, decay.
    steps_per_epoch : int
    ema : float
        Decay of the running average; 0 for none.
    label_smoothing : float
        Targets become `smoothing` and `1 - smoothing`.
    """

    def __init__(
        self,
        network: Classifier,
        options: FitOptions,
        steps_per_epoch: int,
        *,
        ema: float = 0.0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        # Half as fast again on CPUs as the default layout, and what tensor cores want on GPUs.
        self.network = network.to(memory_format=torch.channels_last)
        self.average = WeightAverage(network, ema) if ema else None
        self.options = options
        self.steps_per_epoch = steps_per_epoch
        self.label_smoothing = label_smoothing
        self._seen: list[tuple[Tensor, Tensor]] = []

    @property
    def result(self) -> Classifier:
        """The network to keep: the average where there is one."""
        return self.network if self.average is None else self.average.network  # type: ignore[return-value]

    def training_step(self, batch: dict[str, Any], _index: int) -> Tensor:
        """Return the loss of a batch."""
        refuse_unread(batch)
        logits = self.network(_channels_last(batch["image"]), batch["metadata"])[:, 0]
        smoothing = self.label_smoothing
        target = batch["target"] * (1 - 2 * smoothing) + smoothing
        loss = F.binary_cross_entropy_with_logits(logits, target)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(logits))
        return loss

    def on_train_batch_end(self, *_arguments: Any) -> None:
        """Let the average follow."""
        if self.average is not None:
            self.average.update(self.network)

    def validation_step(self, batch: dict[str, Any], _index: int) -> None:
        """Keep logits and targets for the end of the epoch."""
        refuse_unread(batch)
        logits = self.result(_channels_last(batch["image"]), batch["metadata"])[:, 0]
        self._seen.append((logits.float().cpu(), batch["target"].cpu()))

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
        trained = [p for p in self.network.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1]},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return optimiser_and_schedule(groups, self.options, self.steps_per_epoch)


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
