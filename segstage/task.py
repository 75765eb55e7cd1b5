"""What Lightning trains: the segmenter, its loss and its scores at the working resolution."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from lesioncore.training import optimiser_and_schedule
from segstage.config import TrainConfig
from segstage.losses import dice_bce, hard_overlap
from segstage.models._registry import Segmenter

#: Which epoch is best is decided by this score.
MONITOR = "val_jaccard"


class SegmentationTask(pl.LightningModule):
    """Model, loss and metrics.

    Batches are ``(B, H, W, 3) uint8 RGB`` images and ``(B, H, W) uint8`` masks, 255 on the lesion.
    """

    def __init__(self, segmenter: Segmenter, config: TrainConfig) -> None:
        super().__init__()
        # Channels-last convolutions are up to twice as fast on CPUs, and on GPUs in bf16.
        self.segmenter = segmenter.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.config = config

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        """Return the loss of a batch."""
        logits, truth = self._logits(batch)
        loss = dice_bce(logits, truth, dice_weight=self.config.dice_weight)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(truth))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _index: int) -> None:
        """Log loss, Dice and Jaccard of a batch."""
        logits, truth = self._logits(batch)
        dice, jaccard = hard_overlap(logits, truth)
        scores = {
            "val_loss": dice_bce(logits, truth, dice_weight=self.config.dice_weight),
            "val_dice": dice.mean(),
            MONITOR: jaccard.mean(),
        }
        self.log_dict(scores, on_step=False, on_epoch=True, batch_size=len(truth))

    def configure_optimizers(self) -> Any:
        """Return AdamW and its schedule; the pretrained encoder learns at a lower rate."""
        encoder = self.segmenter.encoder_parameters()
        known = {id(parameter) for parameter in encoder}
        rest = [p for p in self.segmenter.parameters() if id(p) not in known]
        groups = [{"params": rest}]
        if encoder:
            rate = self.config.lr * self.config.encoder_lr_factor
            groups.append({"params": encoder, "lr": rate})  # type: ignore[dict-item]
        steps = int(self.trainer.estimated_stepping_batches) // self.config.epochs
        return optimiser_and_schedule(groups, self.config, max(steps, 1))

    def _logits(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        images, masks = batch
        logits = self.segmenter(self.segmenter.prepare(images))
        return logits, masks[:, None].float() / 255
