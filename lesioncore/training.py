"""One way to train: Lightning's Trainer, resumable at every epoch, quiet off a terminal."""

from __future__ import annotations

import csv
import logging
import math
import shutil
import signal
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EMAWeightAveraging,
    ModelCheckpoint,
    RichProgressBar,
)
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerStatus
from torch import Tensor
from torch.utils.data import DataLoader

from lesioncore.config import FitOptions
from lesioncore.devices import choose_device, choose_precision
from lesioncore.files import write_text, writing_to
from lesioncore.loading import EpochSampler, epoch_seed
from lesioncore.progress import is_terminal, log

LIGHTNING_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def fit(
    task: pl.LightningModule,
    train_loader: DataLoader[Any],
    val_loader: DataLoader[Any] | None,
    *,
    folder: Path,
    options: FitOptions,
    monitor: str,
    mode: str = "max",
    ema: float = 0.0,
) -> None:
    """Train `task`; leave the chosen epoch's state in it.

    A killed call goes on from the last finished epoch when it is given again: order, dropout and
    augmentation of an epoch depend on (seed, epoch) alone.

    Parameters
    ----------
    task : LightningModule
        Model, loss and metrics; logs ``train_loss`` and the `monitor`.
    train_loader, val_loader : DataLoader
        See `lesioncore.loading.make_loader`. Without `val_loader` the last epoch is kept.
    folder : Path
        Gets ``checkpoints/``, ``metrics.csv`` (a row an epoch) and TensorBoard's ``logs/``.
    options : FitOptions
        Epochs, seed, device, precision and which epoch to keep.
    monitor : str
        Logged validation score that chooses the best epoch.
    mode : {"max", "min"}
        Whether more of `monitor` is better.
    ema : float in [0, 1)
        Decay a step of an average of the weights; the average is validated and kept. 0: none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = choose_device(options.device)
    precision = choose_precision(options.precision, device)
    best = keeps_best(options) and val_loader is not None
    checkpoints = folder / "checkpoints"
    # The best first, so that the last remembers which was best.
    saver = _checkpoint(checkpoints, "best", monitor, mode) if best else None
    savers = [saver] if saver else []
    callbacks: list[Callback] = [
        EpochSeeds(options.seed),
        EpochTable(folder, len(train_loader.sampler)),  # type: ignore[arg-type]
        *savers,
        _checkpoint(checkpoints, "last"),
    ]
    if ema:
        # Before the savers, which then find the averaged weights in the checkpoint.
        callbacks.insert(0, WeightEma(ema))
    if is_terminal():
        callbacks.append(EpochBar())
    last = checkpoints / "last.ckpt"
    resume = last if last.is_file() else None
    if resume:
        log.info("going on from %s", resume)
        _start_at(train_loader, _finished_epochs(resume))
    with _quiet_lightning(), writing_to(folder):
        trainer = pl.Trainer(
            max_epochs=options.epochs,
            accelerator="gpu" if device.type == "cuda" else device.type,
            devices=1,
            precision=LIGHTNING_PRECISION[precision],  # type: ignore[arg-type]
            callbacks=callbacks,
            logger=TensorBoardLogger(folder, name=None, version="logs"),
            enable_progress_bar=is_terminal(),
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=10,
            default_root_dir=folder,
        )
        try:
            trainer.fit(task, train_loader, val_loader, ckpt_path=resume, weights_only=True)
        except SystemExit:  # how Lightning ends after Ctrl-C
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from None
    if trainer.state.status == TrainerStatus.INTERRUPTED:
        raise KeyboardInterrupt
    if saver and Path(saver.best_model_path).is_file():
        chosen = torch.load(saver.best_model_path, map_location="cpu", weights_only=True)
        task.load_state_dict(chosen["state_dict"])
    task.to("cpu").eval()


def _finished_epochs(checkpoint: Path) -> int:
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return int(saved["epoch"]) + 1


def _start_at(loader: DataLoader[Any], epoch: int) -> None:
    # Lightning starts the loader's workers before it tells the sampler where it resumes.
    if isinstance(loader.sampler, EpochSampler):
        loader.sampler.set_epoch(epoch)


def _checkpoint(
    folder: Path, name: str, monitor: str | None = None, mode: str = "max"
) -> ModelCheckpoint:
    return ModelCheckpoint(
        dirpath=folder,
        filename=name,
        monitor=monitor,
        mode=mode,
        save_top_k=1,
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )


def keeps_best(options: FitOptions) -> bool:
    """Whether the best epoch is kept, not the last.

    For folds the last is: an epoch chosen on a fold would flatter its out-of-fold scores.
    """
    return options.folds == 1 if options.select == "auto" else options.select == "best"


def forget_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a finished member; its weights are kept beside them."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def optimiser_and_schedule(
    parameters: Iterable[Any], options: FitOptions, steps_per_epoch: int
) -> dict[str, Any]:
    """Return what `configure_optimizers` returns: AdamW, warm-up at a tenth, cosine to zero.

    Parameters
    ----------
    parameters : iterable
        Parameters, or groups with their own ``lr``.
    options : FitOptions
        Rate, decay, epochs.
    steps_per_epoch : int
        Optimiser steps an epoch.
    """
    optimiser = torch.optim.AdamW(parameters, lr=options.lr, weight_decay=options.weight_decay)
    factor = warmup_cosine(options.epochs, options.warmup_epochs, steps_per_epoch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class warmup_cosine:
    """Factor of the rate at a step: a tenth while warming up, then a cosine from 1 to 0.

    Source: the schedule of the ISIC 2020 winners (Ha, Liu and Liu, arXiv 2010.05351).
    """

    def __init__(self, epochs: int, warmup_epochs: int, steps_per_epoch: int) -> None:
        self.warmup = min(warmup_epochs, max(epochs - 1, 0)) * steps_per_epoch
        self.total = max(epochs * steps_per_epoch, 1)

    def __call__(self, step: int) -> float:
        """Return the factor at `step`."""
        if step < self.warmup:
            return 0.1
        part = (step - self.warmup) / max(self.total - self.warmup, 1)
        return 0.5 * (1.0 + math.cos(math.pi * min(part, 1.0)))


class EpochSeeds(Callback):
    """Seeds dropout and the like from (seed, epoch), so that a resumed run repeats itself."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed the main process for this epoch."""
        torch.manual_seed(epoch_seed(self.seed, trainer.current_epoch) + 1)


class WeightEma(EMAWeightAveraging):
    """An average of the weights whose decay grows from 0.1 to `decay`, as TensorFlow's does.

    Without that, a short training would end with much of its random start in the average.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(decay=decay)
        assert isinstance(self._kwargs, dict)
        self._kwargs["avg_fn"] = _growing_average(decay)


def _growing_average(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    def average(old: Tensor, new: Tensor, count: Tensor) -> Tensor:
        step = float(count)
        kept = min(decay, (1 + step) / (10 + step))
        # In this form constants such as the mean of the pixels stay exactly what they are.
        return old + (new - old) * (1 - kept) if old.is_floating_point() else new

    return average


class EpochBar(RichProgressBar):
    """Counts epochs from 1, as ``metrics.csv`` and the lines of the log do."""

    def __init__(self) -> None:
        super().__init__(console_kwargs={"stderr": True})

    def _get_train_description(self, current_epoch: int) -> str:
        return f"epoch {current_epoch + 1}/{self.trainer.max_epochs}".ljust(10)

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return what stands behind the bar, without the number of Lightning's log folder."""
        shown = super().get_metrics(trainer, pl_module)
        shown.pop("v_num", None)
        return shown


class EpochTable(Callback):
    """Keeps ``metrics.csv``: a row an epoch, all logged scores, seconds and images a second."""

    def __init__(self, folder: Path, images: int) -> None:
        self.path = folder / "metrics.csv"
        self.images = images
        self.started = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the row; rows of an epoch that is done again are replaced."""
        seconds = time.perf_counter() - self.started
        scores = {
            key: float(value)
            for key, value in sorted(trainer.callback_metrics.items())
            if not key.endswith("_step")
        }
        row = {"epoch": trainer.current_epoch + 1, **scores, "seconds": round(seconds, 2)}
        write_rows(self.path, [*self._earlier(trainer.current_epoch + 1), row])
        shown = "  ".join(f"{key} {value:.4f}" for key, value in scores.items())
        log.info(
            "epoch %d/%s  %s  (%.0f s, %.1f images/s)",
            trainer.current_epoch + 1,
            trainer.max_epochs,
            shown,
            seconds,
            self.images / seconds,
        )

    def _earlier(self, epoch: int) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        with self.path.open(newline="") as handle:
            return [row for row in csv.DictReader(handle) if int(row["epoch"]) < epoch]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows of a small CSV; the columns are those of all rows, in order of appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [",".join(columns)]
    lines += [",".join(str(row.get(key, "")) for key in columns) for row in rows]
    write_text(path, "\n".join(lines) + "\n")


class _quiet_lightning:
    """Silences Lightning's advertisements and tips; errors and our own lines stay."""

    def __enter__(self) -> None:
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.filterwarnings("ignore", module=r"lightning.*")
        warnings.filterwarnings("ignore", message=r".*(isinstance\(treespec|lr_scheduler.step).*")
        self._levels: dict[str, int] = {}
        for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
            logger = logging.getLogger(name)
            self._levels[name] = logger.level
            logger.setLevel(logging.ERROR)

    def __exit__(self, *error: object) -> None:
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        self._warnings.__exit__(None, None, None)
