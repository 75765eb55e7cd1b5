"""One member of a stack: boosters of every algorithm on the training folds, chosen on inner folds.

Nothing of the member's held-out fold is looked at: inner folds of its training patients say how
many rounds and which settings; then the boosters learn from all training patients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsstage.sampling import ClassSampling
from lesioncore.devices import choose_workers
from lesioncore.files import read_json, sha256_file, write_json
from lesioncore.metrics import roc_auc
from lesioncore.progress import log
from lesioncore.splits import make_split
from pipelines.stack.boosters import Booster, Settings, Task, booster_class
from pipelines.stack.inputs import Inputs, Matrix
from pipelines.stack.rows import StackRows
from pipelines.stack_config import StackTrainConfig

Array = NDArray[np.float64]

INPUTS = "inputs.json"
#: Benign lesions per malignant one, where `auto` draws them: as the first place of ISIC 2024.
AUTO_RATIO = 100.0


@dataclass(frozen=True)
class Inner:
    """One inner fold: what is learned from, and what it is watched on."""

    inputs: Inputs
    rows: Matrix
    labels: Array
    watched: Matrix
    watched_labels: Array


@dataclass(frozen=True)
class MemberTraining:
    """Trains member `number` of a run into `folder`.

    Attributes
    ----------
    config : StackTrainConfig
    folder : Path
    number : int
    rows : StackRows
        Its training rows.
    labels : (n,) float64
    groups : (n,) str
        Patients or lesions, never divided between inner folds.
    done : callable
        Called with a line for the log when an algorithm has finished.
    """

    config: StackTrainConfig
    folder: Path
    number: int
    rows: StackRows
    labels: Array
    groups: NDArray[Any]
    done: Callable[[str], None]

    def run(self) -> tuple[Inputs, dict[str, list[Booster]]]:
        """Train what is not trained yet; return the inputs and the boosters by algorithm."""
        boosters: dict[str, list[Booster]] = {}
        for name in self.config.algorithms:
            record = self.folder / f"{name}.json"
            if not record.is_file():
                found = self._train(name)
                if not (self.folder / INPUTS).is_file():
                    write_json(self.folder / INPUTS, self.inputs.to_dict())
                write_json(record, found)  # last: with it the algorithm is finished
                self.done(
                    f"member-{self.number} {name}: {self.config.seeds} boosters of "
                    f"{found['rounds']} rounds, inner AUC {found['inner_auc']:.4f}"
                )
            boosters[name] = read_boosters(self.folder, name, self._threads)
        return read_inputs(self.folder), boosters

    @cached_property
    def inputs(self) -> Inputs:
        """How rows of all training patients become a matrix."""
        return self._inputs(self.rows, self.labels)

    @cached_property
    def folds(self) -> NDArray[np.int64]:
        """The inner fold of each training row."""
        import pandas as pd

        ids = self.rows.manifest["image_id"]
        split = make_split(
            self.rows.manifest[["image_id"]],
            folds=self.config.inner_folds,
            seed=self._seed(0),
            labels=self.labels,
            groups=pd.Series(self.groups, index=ids),
        )
        return split["fold"].to_numpy(np.int64)

    @cached_property
    def inner(self) -> list[Inner]:
        """The inner folds as every algorithm is given them."""
        found = []
        for fold in range(self.config.inner_folds):
            others, own = np.flatnonzero(self.folds != fold), np.flatnonzero(self.folds == fold)
            inputs = self._inputs(self.rows.take(others), self.labels[others])
            drawn, labels = self._drawn(inputs, others, self._seed(1 + fold))
            watched = inputs.matrix(self.rows.take(own))
            found.append(Inner(inputs, drawn, labels, watched, self.labels[own]))
        return found

    def _train(self, name: str) -> dict[str, Any]:
        kind = booster_class(name)
        tried = [self._try(kind, settings) for settings in kind.candidates]
        best = min(tried, key=lambda one: one["inner_log_loss"])
        files = []
        for seed in range(self.config.seeds):
            everything = np.arange(len(self.rows))
            rows, labels = self._drawn(self.inputs, everything, self._seed(100 + seed))
            booster = kind.fit(
                rows, labels, self.inputs.names, best["settings"], self._task(best["rounds"], seed)
            )
            path = self.folder / f"{name}-{seed}{kind.suffix}"
            booster.save(path)
            files.append({"file": path.name, "rounds": booster.rounds, "sha256": sha256_file(path)})
        return {"algorithm": name, **best, "tried": tried, "boosters": files}

    def _try(self, kind: type[Booster], settings: Settings) -> dict[str, Any]:
        """Return how settings do on the inner folds, each watched on its own."""
        rounds, margins, labels = [], [], []
        for fold, part in enumerate(self.inner):
            booster = kind.fit(
                part.rows, part.labels, part.inputs.names, settings,
                self._task(self.config.max_rounds, fold), (part.watched, part.watched_labels),
            )  # fmt: skip
            rounds.append(booster.rounds)
            margins.append(part.watched.start + booster.margin(part.watched.values))
            labels.append(part.watched_labels)
        logit, truth = np.concatenate(margins), np.concatenate(labels)
        return {
            "settings": dict(settings),
            "rounds": max(1, round(float(np.mean(rounds)))),
            "inner_rounds": rounds,
            "inner_log_loss": float((np.logaddexp(0, logit) - truth * logit).mean()),
            "inner_auc": float(roc_auc(truth, logit)),
        }

    def _inputs(self, rows: StackRows, labels: Array) -> Inputs:
        return Inputs.fit(rows, labels, start=self.config.start, without=self.config.without)

    def _drawn(self, inputs: Inputs, chosen: NDArray[np.int64], seed: int) -> tuple[Matrix, Array]:
        """Return the rows of a booster: all malignant ones, benign ones as the ratio says.

        Fewer benign rows than there are would make it believe in another prevalence; the start is
        moved by as much, so that what the trees add holds for the real one.
        """
        rng = np.random.default_rng(seed)
        labels = self.labels[chosen]
        sampling = ClassSampling(self._ratio)
        picked = np.sort(sampling.rows(labels, rng))
        rows = self.rows.take(chosen)
        rates = inputs.own_rates(rows, labels, self.folds[chosen])
        part = rows.take(picked).noisy(self.config.score_noise, rng)
        found = inputs.matrix(part, {name: values[picked] for name, values in rates.items()})
        offset = sampling.prior_offset(labels)
        return Matrix(found.values, found.start - offset), labels[picked]

    @property
    def _ratio(self) -> float | None:
        given = self.config.negative_ratio
        if given == "auto":
            return AUTO_RATIO
        return None if isinstance(given, str) else given

    def _task(self, rounds: int, seed: int) -> Task:
        return Task(
            rounds=rounds,
            learning_rate=self.config.learning_rate,
            seed=self._seed(seed),
            threads=self._threads,
            patience=self.config.patience,
        )

    @property
    def _threads(self) -> int:
        return choose_workers(self.config.workers)

    def _seed(self, number: int) -> int:
        return (self.config.seed * 1000 + self.number) * 1000 + number


def read_inputs(folder: Path) -> Inputs:
    """Return the inputs of a member."""
    return Inputs.from_dict(read_json(folder / INPUTS))


def read_boosters(folder: Path, name: str, threads: int) -> list[Booster]:
    """Return the boosters of an algorithm of a finished member."""
    kind = booster_class(name)
    return [
        kind.load(folder / one["file"], int(one["rounds"]), threads)
        for one in read_json(folder / f"{name}.json")["boosters"]
    ]


def margins(boosters: Sequence[Booster], values: NDArray[np.float32]) -> Array:
    """Return the mean margin of boosters, (n,) log-odds."""
    found = [booster.margin(values) for booster in boosters]
    return np.asarray(np.mean(found, axis=0), np.float64)


def log_progress(finished: int, total: int) -> Callable[[str], None]:
    """Return a function that logs a line with how much of the work is done, never less."""
    state = {"done": finished}

    def done(line: str) -> None:
        state["done"] += 1
        log.info("[%d of %d] %s", state["done"], total, line)

    return done
