"""XGBoost (Chen and Guestrin 2016)."""

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


@register("xgboost")
class XGBoost(Booster):
    """Trees grown level by level, on histograms."""

    suffix = ".json"
    candidates = ({"max_depth": 3, "lambda": 5.0}, {"max_depth": 5, "lambda": 10.0})

    def __init__(self, model: Any, rounds: int, threads: int) -> None:
        self.model = model
        self.rounds = rounds
        self.threads = threads
        model.set_param({"nthread": threads})

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
        xgboost = library("xgboost")
        options = {
            "objective": "binary:logistic", "eval_metric": "logloss", "tree_method": "hist",
            "learning_rate": task.learning_rate, "seed": task.seed, "nthread": task.threads,
            "subsample": 0.8, "colsample_bytree": 0.4, "min_child_weight": 1.0, "max_bin": 128,
            **settings,
        }  # fmt: skip

        def data(matrix: Matrix, truth: Array) -> Any:
            return xgboost.DMatrix(
                matrix.values, truth, base_margin=matrix.start, feature_names=list(names),
                nthread=task.threads,
            )  # fmt: skip

        if watch is None:
            model = xgboost.train(options, data(rows, labels), task.rounds)
            return cls(model, model.num_boosted_rounds(), task.threads)
        model = xgboost.train(
            options, data(rows, labels), task.rounds, evals=[(data(*watch), "watch")],
            early_stopping_rounds=task.patience, verbose_eval=False,
        )  # fmt: skip
        return cls(model, model.best_iteration + 1, task.threads)

    def margin(self, values: NDArray[np.float32]) -> Array:
        """See `Booster.margin`."""
        found = self.model.predict(
            self._data(values), output_margin=True, iteration_range=(0, self.rounds)
        )
        return np.asarray(found, np.float64)

    def contributions(self, values: NDArray[np.float32]) -> Array:
        """See `Booster.contributions`."""
        found = self.model.predict(
            self._data(values), pred_contribs=True, iteration_range=(0, self.rounds)
        )
        return np.asarray(found, np.float64)[:, :-1]

    def gains(self) -> Array:
        """See `Booster.gains`."""
        found = self.model.get_score(importance_type="total_gain")
        return as_parts(np.array([found.get(name, 0.0) for name in self.model.feature_names]))

    def _data(self, values: NDArray[np.float32]) -> Any:
        # A margin of 0 for all, or the library adds a start of its own.
        return library("xgboost").DMatrix(
            values, base_margin=np.zeros(len(values)), feature_names=self.model.feature_names,
            nthread=self.threads,
        )  # fmt: skip

    def _write(self, path: Path) -> None:
        self.model[: self.rounds].save_model(path)

    @classmethod
    def load(cls, path: Path, rounds: int, threads: int) -> Self:
        """See `Booster.load`."""
        return cls(library("xgboost").Booster(model_file=str(path)), rounds, threads)
