"""What a booster is: trees on top of a start, in log-odds, kept in the library's own format."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from lesioncore.errors import LesionError
from lesioncore.files import atomic_path
from lesioncore.registry import Registry
from pipelines.stack.inputs import Matrix

Array = NDArray[np.float64]
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """How a booster learns, whatever its library.

    Attributes
    ----------
    rounds : int
        Trees, at most.
    learning_rate : float
    seed : int
    threads : int
    patience : int
        Rounds without a gain after which it stops, where it is watched.
    """

    rounds: int
    learning_rate: float
    seed: int
    threads: int
    patience: int = 50


class Booster(ABC):
    """A fitted booster; its margin is added to the start of a row.

    Attributes
    ----------
    name : str
        Of the library, by which it is registered.
    suffix : str
        Of its file.
    candidates : tuple of mapping
        Settings to choose from on inner folds: small trees, and larger ones.
    rounds : int
        Trees that count.
    threads : int
        To predict with.
    """

    name: ClassVar[str] = ""
    suffix: ClassVar[str]
    candidates: ClassVar[tuple[Settings, ...]]
    rounds: int
    threads: int

    @classmethod
    @abstractmethod
    def fit(
        cls,
        rows: Matrix,
        labels: Array,
        names: Sequence[str],
        settings: Settings,
        task: Task,
        watch: tuple[Matrix, Array] | None = None,
    ) -> Self:
        """Return the booster of training rows.

        Parameters
        ----------
        rows : Matrix
        labels : (n,) float64
            1 malignant, 0 benign.
        names : sequence of str
            Of the features.
        settings : mapping
            One of `candidates`.
        task : Task
        watch : (Matrix, (m,) float64), optional
            Rows by whose log loss it stops; they are of an inner fold, never of the outer one.
        """

    @abstractmethod
    def margin(self, values: NDArray[np.float32]) -> Array:
        """Return what the trees add to the start, (n,) log-odds, for features (n, F)."""

    @abstractmethod
    def contributions(self, values: NDArray[np.float32]) -> Array:
        """Return what each feature adds to the start of each row, (n, F) log-odds.

        Exact Shapley values of the trees (Lundberg et al. 2020, Nature Machine Intelligence 2:56);
        they add up to the margin but for a constant.
        """

    @abstractmethod
    def gains(self) -> Array:
        """Return how much the splits on each feature gained, as parts of 1, (F,)."""

    def save(self, path: Path) -> None:
        """Write the booster, whole or not at all."""
        with atomic_path(path) as temporary:
            self._write(temporary)

    @abstractmethod
    def _write(self, path: Path) -> None: ...

    @classmethod
    @abstractmethod
    def load(cls, path: Path, rounds: int, threads: int) -> Self:
        """Return the booster of a file that `save` wrote."""


_BOOSTERS: Registry[Booster] = Registry("algorithm", "pipelines.stack.boosters")
register = _BOOSTERS.register
booster_names = _BOOSTERS.names


def booster_class(name: str) -> type[Booster]:
    """Return the class registered under `name`; an unknown name lists the known."""
    return _BOOSTERS[name]


def library(name: str) -> ModuleType:
    """Return a library of the extra `boost`.

    Raises
    ------
    LesionError
        It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise LesionError(
            f"the package {name} is not installed ({error})",
            wanted="the extra `boost`, for lesion stack",
            mend="pip install 'lesion-pipeline[boost]', or name others with --algorithms",
        ) from error


def as_parts(gains: NDArray[Any]) -> Array:
    """Return gains as parts of 1; zeros where there were none."""
    total = float(np.sum(gains))
    return np.asarray(gains, np.float64) / (total if total > 0 else 1.0)
