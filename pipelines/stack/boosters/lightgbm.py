"""LightGBM (Ke et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipelines.stack.boosters._base import (
    Array,
    Booster,
    Settings,
    Task,
    as_parts,
    library,
    register,
)
from pipelines.stack.inputs import Matrix


@register("lightgbm")
class LightGBM(Booster):
    """Trees grown leaf by leaf."""

    suffix = ".txt"
    candidates = ({"num_leaves": 8, "lambda_l2": 5.0}, {"num_leaves": 20, "lambda_l2": 10.0})

    def __init__(self, model: Any, rounds: int, threads: int) -> None:
        self.model = model
        self.rounds = rounds
        self.threads = threads

    @classmethod
    def fit(
        cls,
        rows: Matrix,
        labels: Array,
        names: Sequence[str],
        settings: Settings,
        task: Task,
        watch: tuple[Matrix, Array] | None = None,
    ) -> Self:
        """See `Booster.fit`."""
        lightgbm = library("lightgbm")
        options = {
            "objective": "binary", "metric": "binary_logloss", "verbosity": -1,
            "learning_rate": task.learning_rate, "seed": task.seed, "num_threads": task.threads,
            "feature_fraction": 0.4, "bagging_fraction": 0.8, "bagging_freq": 1,
            "min_data_in_leaf": 20, "deterministic": True, "force_col_wise": True, **settings,
        }  # fmt: skip
        data = lightgbm.Dataset(
            rows.values, labels, init_score=rows.start, feature_name=list(names),
            params={"verbosity": -1},
        )  # fmt: skip
        if watch is None:
            model = lightgbm.train(options, data, task.rounds)
            return cls(model, model.current_iteration(), task.threads)
        held = lightgbm.Dataset(
            watch[0].values, watch[1], init_score=watch[0].start, reference=data
        )
        stop = lightgbm.early_stopping(task.patience, verbose=False)
        model = lightgbm.train(options, data, task.rounds, valid_sets=[held], callbacks=[stop])
        return cls(model, model.best_iteration, task.threads)

    def margin(self, values: NDArray[np.float32]) -> Array:
        """See `Booster.margin`."""
        return self._predict(values, raw_score=True)

    def contributions(self, values: NDArray[np.float32]) -> Array:
        """See `Booster.contributions`."""
        return self._predict(values, pred_contrib=True)[:, :-1]

    def gains(self) -> Array:
        """See `Booster.gains`."""
        return as_parts(self.model.feature_importance("gain", iteration=self.rounds))

    def _predict(self, values: NDArray[np.float32], **what: bool) -> Array:
        found = self.model.predict(
            values, num_iteration=self.rounds, num_threads=self.threads, **what
        )
        return np.asarray(found, np.float64)

    def _write(self, path: Path) -> None:
        self.model.save_model(path, num_iteration=self.rounds)

    @classmethod
    def load(cls, path: Path, rounds: int, threads: int) -> Self:
        """See `Booster.load`."""
        return cls(library("lightgbm").Booster(model_file=path), rounds, threads)
