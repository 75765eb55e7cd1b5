"""CatBoost (Prokhorenkova et al. 2018)."""

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


@register("catboost")
class CatBoost(Booster):
    """Symmetric trees."""

    suffix = ".cbm"
    candidates = ({"depth": 3, "l2_leaf_reg": 5.0}, {"depth": 5, "l2_leaf_reg": 10.0})

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
        catboost = library("catboost")
        model = catboost.CatBoost(
            {
                "loss_function": "Logloss", "iterations": task.rounds,
                "learning_rate": task.learning_rate, "random_seed": task.seed,
                "thread_count": task.threads, "bootstrap_type": "Bernoulli", "subsample": 0.8,
                "rsm": 0.4, "border_count": 128, "boost_from_average": False,
                "allow_writing_files": False, "logging_level": "Silent", **settings,
            }
        )  # fmt: skip

        def pool(matrix: Matrix, truth: Array) -> Any:
            return catboost.Pool(
                matrix.values, truth, baseline=matrix.start, feature_names=list(names),
                thread_count=task.threads,
            )  # fmt: skip

        if watch is None:
            model.fit(pool(rows, labels))
        else:
            model.fit(
                pool(rows, labels), eval_set=pool(*watch), use_best_model=True,
                early_stopping_rounds=task.patience,
            )  # fmt: skip
        return cls(model, int(model.tree_count_), task.threads)

    def margin(self, values: NDArray[np.float32]) -> Array:
        """See `Booster.margin`."""
        found = self.model.predict(
            values, prediction_type="RawFormulaVal", thread_count=self.threads
        )
        return np.asarray(found, np.float64)

    def contributions(self, values: NDArray[np.float32]) -> Array:
        """See `Booster.contributions`."""
        pool = library("catboost").Pool(values, feature_names=self.model.feature_names_)
        found = self.model.get_feature_importance(
            pool, type="ShapValues", thread_count=self.threads
        )
        return np.asarray(found, np.float64)[:, :-1]

    def gains(self) -> Array:
        """See `Booster.gains`."""
        return as_parts(self.model.get_feature_importance(type="PredictionValuesChange"))

    def _write(self, path: Path) -> None:
        self.model.save_model(str(path), format="cbm")

    @classmethod
    def load(cls, path: Path, rounds: int, threads: int) -> Self:
        """See `Booster.load`."""
        model = library("catboost").CatBoost()
        model.load_model(str(path), format="cbm")
        return cls(model, rounds, threads)
