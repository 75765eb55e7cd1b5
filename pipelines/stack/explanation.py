"""What a stack looks at: the share of each feature in its log-odds, on lesions it did not see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipelines.stack.boosters import Booster
from pipelines.stack.inputs import Inputs
from pipelines.stack.rows import StackRows

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

#: What the image scores say by themselves, before any tree.
START = "start (image scores)"
#: Lesions of a member that are explained: malignant ones, others.
_MALIGNANT, _OTHERS = 200, 600


@dataclass(frozen=True)
class Explained:
    """Lesions of a held-out fold, each feature's part in their log-odds.

    Attributes
    ----------
    contributions : DataFrame
        (n, 1 + F) log-odds, `START` first. A feature that the member has not is absent.
    values : DataFrame
        The features themselves.
    weights : (n,) float64
        How many lesions of the fold each stands for.
    gains : Series
        By feature, parts of 1: what the splits gained, mean over boosters.
    """

    contributions: pd.DataFrame
    values: pd.DataFrame
    weights: Array
    gains: pd.Series


def explain(
    inputs: Inputs,
    boosters: Mapping[str, Sequence[Booster]],
    rows: StackRows,
    labels: Array,
    seed: int,
) -> Explained:
    """Return the contributions of features to lesions that a member did not see.

    Parameters
    ----------
    inputs : Inputs
    boosters : mapping of algorithm to boosters
    rows : StackRows
        The held-out fold, of which some hundred lesions are explained.
    labels : (n,) float64
    seed : int
        Chooses them.
    """
    import pandas as pd

    chosen, weights = _sample(labels, np.random.default_rng(seed))
    matrix = inputs.matrix(rows.take(chosen))
    by_algorithm = [
        np.mean([booster.contributions(matrix.values) for booster in some], axis=0)
        for some in boosters.values()
    ]
    names = list(inputs.names)
    contributions = pd.DataFrame(np.mean(by_algorithm, axis=0), columns=names)
    values = pd.DataFrame(matrix.values, columns=names)
    if inputs.start.slopes:
        middle = float(np.average(matrix.start, weights=weights))
        contributions.insert(0, START, matrix.start - middle)
        values.insert(0, START, matrix.start)
    gains = [booster.gains() for some in boosters.values() for booster in some]
    return Explained(contributions, values, weights, pd.Series(np.mean(gains, axis=0), names))


def importance_table(members: Sequence[Explained], families: Mapping[str, str]) -> pd.DataFrame:
    """Return how much each feature moves the log-odds, the most first.

    Returns
    -------
    DataFrame
        `feature`, `family`, `mean_abs_log_odds` (mean over held-out lesions), `share` (of the sum),
        `gain` (parts of 1; null for `START`, which is no split).
    """
    import pandas as pd

    moved = pd.concat([one.contributions.abs() for one in members], ignore_index=True).fillna(0.0)
    weights = np.concatenate([one.weights for one in members])
    mean = (moved.mul(weights, axis=0)).sum() / weights.sum()
    gains = pd.concat([one.gains for one in members], axis=1).fillna(0.0).mean(axis=1)
    table = pd.DataFrame({"feature": mean.index, "mean_abs_log_odds": mean.to_numpy()})
    table.insert(1, "family", [families.get(name, "rates") for name in mean.index])
    table.loc[table["feature"] == START, "family"] = "scores"
    table["share"] = table["mean_abs_log_odds"] / max(table["mean_abs_log_odds"].sum(), 1e-12)
    table["gain"] = table["feature"].map(gains)
    return table.sort_values("mean_abs_log_odds", ascending=False, ignore_index=True)


def _sample(labels: Array, rng: np.random.Generator) -> tuple[NDArray[np.int64], Array]:
    """Return lesions of both classes and how many of the fold each stands for."""
    parts, weights = [], []
    for rows, most in ((labels == 1, _MALIGNANT), (labels != 1, _OTHERS)):
        there = np.flatnonzero(rows)
        picked = rng.permutation(there)[:most]
        parts.append(picked)
        weights.append(np.full(len(picked), len(there) / max(len(picked), 1)))
    return np.concatenate(parts), np.concatenate(weights)
