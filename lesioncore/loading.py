"""Loaders whose order and augmentation depend on (seed, epoch) alone, so that a run can resume."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler

Choice = Callable[[np.random.Generator], np.ndarray]


class EpochSampler(Sampler[int]):
    """Yields the row numbers of one epoch, drawn anew for each by a generator of (seed, epoch).

    Parameters
    ----------
    choose : callable
        From a NumPy generator to the ``(n,)`` int row numbers of an epoch, in order; `n` must be
        the same for every epoch.
    seed : int
        Of the run.
    """

    def __init__(self, choose: Choice, seed: int) -> None:
        self._choose = choose
        self._seed = seed
        self._listeners: list[Callable[[int], None]] = []
        self.epoch_seed = 0
        self._rows = np.empty(0, dtype=np.int64)
        self.set_epoch(0)

    @classmethod
    def shuffled(cls, count: int, seed: int) -> EpochSampler:
        """Return a sampler of every row once, in another order each epoch."""
        return cls(lambda generator: generator.permutation(count), seed)

    def set_epoch(self, epoch: int) -> None:
        """Draw the rows of `epoch`; Lightning calls this before each one."""
        seed = epoch_seed(self._seed, epoch)
        self._rows = np.asarray(self._choose(np.random.default_rng(seed)), dtype=np.int64)
        self.epoch_seed = seed
        for listener in self._listeners:
            listener(seed)

    def on_epoch(self, listener: Callable[[int], None]) -> None:
        """Call `listener` with each epoch's seed."""
        self._listeners.append(listener)

    def __iter__(self) -> Iterator[int]:
        return iter(self._rows.tolist())

    def __len__(self) -> int:
        return len(self._rows)


def epoch_seed(seed: int, epoch: int) -> int:
    """Return a 32-bit seed for one epoch of a run."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def make_loader(
    dataset: Dataset[Any],
    batch_size: int,
    *,
    sampler: EpochSampler | None = None,
    workers: int = 0,
    drop_last: bool = False,
    collate: Callable[[list[Any]], Any] | None = None,
) -> DataLoader[Any]:
    """Return a loader: in order without `sampler`, else in the order of each epoch.

    A dataset with a method ``reseed(seed: int)`` is reseeded for every epoch (and worker), so
    that its augmentation repeats with the run's seed. Workers start anew each epoch, hold one
    thread each, and open files themselves.
    """
    reseed = getattr(dataset, "reseed", None)
    if sampler is not None and workers == 0 and reseed is not None:
        sampler.on_epoch(reseed)
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler if sampler is not None else SequentialSampler(dataset),  # type: ignore[arg-type]
        num_workers=workers,
        drop_last=drop_last,
        collate_fn=collate,
        worker_init_fn=WorkerStart(sampler),
        generator=torch.Generator(),  # its own, so that iterating leaves dropout's alone
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=4 if workers else None,
    )


class WorkerStart:
    """Keeps a loader worker to one thread and seeds its dataset from the epoch's seed.

    The seed is read as the worker starts. Torch's own worker seeds depend on how often the loader
    was iterated before, which differs after a resume.
    """

    def __init__(self, sampler: EpochSampler | None) -> None:
        self._sampler = sampler

    def __call__(self, worker: int) -> None:
        """Run in the worker, before its first item."""
        import cv2

        cv2.setNumThreads(0)
        torch.set_num_threads(1)
        info = torch.utils.data.get_worker_info()
        reseed = getattr(info.dataset, "reseed", None) if info is not None else None
        if reseed is not None and self._sampler is not None:
            reseed(epoch_seed(self._sampler.epoch_seed, worker))
