"""What Lightning trains: the segmenter, its loss and its scores at the working resolution."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lesioncore.training import optimiser_and_schedule
from segstage.config import TrainConfig
from segstage.losses import create_loss, hard_overlap
from segstage.models._registry import Segmenter

#: Which epoch is best is decided by this score.
MONITOR = "val_jaccard"


class SegmentationTask(pl.LightningModule):
    """Model, loss and metrics.

    Batches are ``(B, H, W, 3) uint8 RGB`` images and ``(B, H, W) uint8`` masks, 255 on the lesion,
    and where they are kept the images' embeddings.
    """

    def __init__(self, segmenter: Segmenter, config: TrainConfig) -> None:
        super().__init__()
        # Channels-last convolutions are up to twice as fast on CPUs, and on GPUs in bf16.
        self.segmenter = segmenter.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.config = config
        self.criterion = create_loss(config.loss)

    def training_step(self, batch: tuple[Tensor, ...], _index: int) -> Tensor:
        """Return the loss of a batch."""
        images, truth = self._scaled(batch[0], batch[1])
        kept = batch[2:]
        loss = self.segmenter.loss(self.segmenter.prepare(images), truth, self.criterion, *kept)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(truth))
        return loss

    def validation_step(self, batch: tuple[Tensor, ...], _index: int) -> None:
        """Log loss, Dice and Jaccard of a batch."""
        images, masks, *kept = batch
        truth = masks[:, None].float() / 255
        logits = self.segmenter(self.segmenter.prepare(images), *kept)
        dice, jaccard = hard_overlap(logits, truth)
        scores = {
            "val_loss": self.criterion(logits, truth),
            "val_dice": dice.mean(),
            MONITOR: jaccard.mean(),
        }
        self.log_dict(scores, on_step=False, on_epoch=True, batch_size=len(truth))

    def configure_optimizers(self) -> Any:
        """Return AdamW and its schedule; the pretrained encoder learns at a lower rate."""
        encoder = [p for p in self.segmenter.encoder_parameters() if p.requires_grad]
        known = {id(p) for p in self.segmenter.encoder_parameters()}
        rest = [p for p in self.segmenter.parameters() if p.requires_grad and id(p) not in known]
        groups = [{"params": rest}]
        if encoder:
            rate = self.config.lr * self.config.encoder_lr_factor
            groups.append({"params": encoder, "lr": rate})  # type: ignore[dict-item]
        steps = int(self.trainer.estimated_stepping_batches) // self.config.epochs
        return optimiser_and_schedule(groups, self.config, max(steps, 1))

    def _scaled(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Return images (B, h, w, 3) uint8 and truth (B, 1, h, w), at this step's size."""
        truth = masks[:, None].float() / 255
        side = self._side(images.shape[1])
        if side == images.shape[1]:
            return images, truth
        pixels = images.permute(0, 3, 1, 2).float()
        scaled = interpolate(pixels, (side, side), mode="bilinear", antialias=True)
        truth = interpolate(truth, (side, side), mode="bilinear", antialias=True)
        return scaled.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1), truth

    def _side(self, side: int) -> int:
        """Return a multiple of 32 within `multi_scale` of `side`, drawn anew at each step."""
        spread = self.config.multi_scale
        if not spread:
            return side
        # From torch's generator, which is seeded by (seed, epoch): a resumed run repeats itself.
        factor = 1 + spread * (2 * float(torch.rand(())) - 1)
        return max(32, 32 * round(side * factor / 32))
