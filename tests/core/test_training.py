"""A training that was cut off and resumed ends where an uninterrupted one ends."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from lesioncore.config import FitOptions
from lesioncore.errors import LesionError
from lesioncore.loading import EpochSampler, make_loader
from lesioncore.training import EpochBar, fit, optimiser_and_schedule, warmup_cosine


class Noise(torch.utils.data.Dataset):
    """Rows whose noise comes from the epoch's seed, like an augmentation's."""

    def __init__(self) -> None:
        self.generator = np.random.default_rng(0)

    def __len__(self) -> int:
        return 40

    def reseed(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)

    def __getitem__(self, row: int) -> torch.Tensor:
        return torch.tensor(self.generator.normal(size=4) + row, dtype=torch.float32)


class Task(pl.LightningModule):
    def __init__(self, options: FitOptions, die_at: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(4, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1)
        )
        self.options = options
        self.die_at = die_at

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        if self.current_epoch == self.die_at and index == 2:
            raise RuntimeError("killed")
        loss = ((self.model(batch) - 1) ** 2).mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: torch.Tensor, index: int) -> None:
        self.log("val_score", -((self.model(batch) - 1) ** 2).mean())

    def configure_optimizers(self):
        return optimiser_and_schedule(self.parameters(), self.options, 5)


def train(folder: Path, options: FitOptions, workers: int, die_at: int | None = None) -> Task:
    data, task = Noise(), Task(options, die_at)
    sampler = EpochSampler.shuffled(len(data), options.seed)
    fit(
        task,
        make_loader(data, 8, sampler=sampler, workers=workers),
        make_loader(Noise(), 8),
        folder=folder,
        options=options,
        monitor="val_score",
    )
    return task


@pytest.mark.parametrize("workers", [0, 1])
def test_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, workers: int) -> None:
    options = FitOptions(epochs=4, device="cpu", select="last")
    whole = train(tmp_path / "whole", options, workers)
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path / "cut", options, workers, die_at=2)
    resumed = train(tmp_path / "cut", options, workers)
    for left, right in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(left, right)
    rows = (tmp_path / "cut" / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2", "3", "4"]


def test_best_epoch_is_kept_for_a_single_split(tmp_path: Path) -> None:
    options = FitOptions(epochs=3, device="cpu", lr=0.5)
    task = train(tmp_path / "r", options, workers=0)
    saved = torch.load(tmp_path / "r" / "checkpoints" / "best.ckpt", weights_only=True)
    for name, value in task.state_dict().items():
        assert torch.equal(value, saved["state_dict"][name])


def test_full_disk_is_said_and_earlier_epochs_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = FitOptions(epochs=3, device="cpu", select="last")
    save = pl.Trainer.save_checkpoint

    def full(trainer: pl.Trainer, *arguments: object, **named: object) -> None:
        if trainer.current_epoch == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(trainer, *arguments, **named)

    monkeypatch.setattr(pl.Trainer, "save_checkpoint", full)
    with pytest.raises(LesionError, match="disk is full"):
        train(tmp_path / "r", options, workers=0)
    monkeypatch.undo()
    resumed = train(tmp_path / "r", options, workers=0)
    whole = train(tmp_path / "whole", options, workers=0)
    for left, right in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(left, right)


def test_warm_up_at_a_tenth_then_cosine_to_zero() -> None:
    factor = warmup_cosine(epochs=5, warmup_epochs=1, steps_per_epoch=10)
    assert [factor(step) for step in (0, 9)] == [0.1, 0.1]
    assert factor(10) == 1.0
    assert factor(30) == pytest.approx(0.5)
    assert factor(50) == pytest.approx(0.0)


def test_sampler_repeats_an_epoch_and_changes_between_epochs() -> None:
    sampler = EpochSampler.shuffled(50, seed=3)
    sampler.set_epoch(1)
    first = list(sampler)
    sampler.set_epoch(2)
    assert list(sampler) != first
    sampler.set_epoch(1)
    assert list(sampler) == first and sorted(first) == list(range(50))


def test_the_bar_counts_epochs_as_the_log_does() -> None:
    bar = EpochBar()
    bar._trainer = SimpleNamespace(max_epochs=6)
    assert bar._get_train_description(0).strip() == "epoch 1/6"
    assert bar._get_train_description(5).strip() == "epoch 6/6"
