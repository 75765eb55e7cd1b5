"""How the scores of members become one: on a scale that they share, with weights that add up to 1.

A combination is plain enough to read as JSON, and says of a new row what it says whatever other
rows stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lesioncore.errors import LesionError, refuse_newer

Array = NDArray[np.float64]
Scale = Literal["rank", "probability", "log_odds"]

#: Of each method. Fitted weights join ranks: log-odds of models that are calibrated differently
#: would move against each other from fold to fold, since each fold has weights of its own.
SCALES: Mapping[str, Scale] = {
    "rank": "rank",
    "mean": "probability",
    "logit": "log_odds",
    "weights": "rank",
}
VERSION = 1
#: Probabilities are kept this far from 0 and 1 before their log-odds are taken.
EDGE = 1e-6
_MIDDLE, _TAIL = 1001, 500


@dataclass(frozen=True)
class Combination:
    """A weighted mean of scores on one scale.

    Attributes
    ----------
    method : str
        `rank`, `mean`, `logit` or `weights`.
    scale : {"rank", "probability", "log_odds"}
    names : tuple of str
        The members, in their order.
    weights : tuple of float
        0 or more, adding up to 1.
    references : tuple of (tuple of float, tuple of float)
        For ranks: of each member, scores (rising) and the part of the rows below them; empty
        otherwise.
    """

    method: str
    scale: Scale
    names: tuple[str, ...]
    weights: tuple[float, ...]
    references: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = ()

    def scaled(self, scores: Array) -> Array:
        """Return the scores of members (n, K) on the common scale, (n, K) float64."""
        if self.scale == "rank":
            columns = [
                np.interp(column, *reference)
                for column, reference in zip(scores.T, self.references, strict=True)
            ]
            return np.stack(columns, axis=1)
        require_probabilities(scores, self.names, self.method)
        return log_odds(scores) if self.scale == "log_odds" else scores

    def join(self, scores: Array) -> Array:
        """Return one score a row, (n,) float64 in [0, 1]; a mean of ranks is no probability."""
        return from_scale(self.scaled(scores) @ np.asarray(self.weights), self.scale)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `from_dict` reads back."""
        return {
            "version": VERSION,
            "method": self.method,
            "scale": self.scale,
            "members": list(self.names),
            "weights": list(self.weights),
            "references": [{"score": list(s), "below": list(b)} for s, b in self.references],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Combination:
        """Return the combination that `to_dict` described.

        Raises
        ------
        LesionError
            A later version, or values that are no combination.
        """
        try:
            refuse_newer("the ensemble is of version", values["version"], VERSION)
            found = cls(
                str(values["method"]),
                values["scale"],
                tuple(map(str, values["members"])),
                tuple(map(float, values["weights"])),
                tuple((tuple(one["score"]), tuple(one["below"])) for one in values["references"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise LesionError(
                f"this is no ensemble: {type(error).__name__} {error}",
                wanted="the JSON that `lesion ensemble` wrote beside its predictions",
            ) from error
        if len(found.weights) != len(found.names):
            raise LesionError(f"{len(found.weights)} weights for {len(found.names)} members")
        return found


def make_combination(
    method: str, names: Sequence[str], scores: Array, weights: Sequence[float] | None = None
) -> Combination:
    """Return how `method` joins members whose scores (n, K) these are.

    Parameters
    ----------
    method : {"rank", "mean", "logit", "weights"}
    names : sequence of str
    scores : (n, K) float64
        From which the ranks of later rows are read.
    weights : sequence of float, optional
        Left out, equal parts.
    """
    scale = SCALES[method]
    count = len(names)
    shares = tuple(weights) if weights is not None else (1 / count,) * count
    references = tuple(_reference(c) for c in scores.T) if scale == "rank" else ()
    return Combination(method, scale, tuple(names), shares, references)


def log_odds(probabilities: Array) -> Array:
    """Return log(p / (1 - p)), p cut at EDGE and 1 - EDGE."""
    cut = np.clip(probabilities, EDGE, 1 - EDGE)
    return np.log(cut) - np.log1p(-cut)


def from_scale(values: Array, scale: Scale) -> Array:
    """Return means on a scale as numbers from 0 to 1."""
    return 1 / (1 + np.exp(-values)) if scale == "log_odds" else values


def require_probabilities(scores: Array, names: Sequence[str], method: str) -> None:
    """Refuse scores (n, K) outside of [0, 1], naming the first member that has them."""
    for name, column in zip(names, scores.T, strict=True):
        if len(column) and (column.min() < 0 or column.max() > 1):
            raise LesionError(
                f"{name} has scores from {column.min():.4g} to {column.max():.4g}: "
                "no probabilities",
                wanted=f"values in [0, 1] for --method {method}",
                mend="--method rank, which takes any scale",
            )


def _reference(scores: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return scores and the part of the rows below each, ties by half; all of few rows.

    Of many rows a thousand evenly spaced ones are kept and the highest ones, where lesions are
    told apart.
    """
    values, count = np.unique(scores, return_counts=True)
    below = (np.cumsum(count) - count / 2) / len(scores)
    if len(values) > _MIDDLE + _TAIL:
        kept = np.linspace(0, len(values) - 1, _MIDDLE).astype(np.int64)
        kept = np.union1d(kept, np.arange(len(values) - _TAIL, len(values)))
        values, below = values[kept], below[kept]
    return tuple(values.tolist()), tuple(below.tolist())
