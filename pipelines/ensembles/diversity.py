"""How far members differ, and what each of them adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesioncore.metrics import Interval, partial_auc, roc_auc
from lesioncore.metrics import resamples as resamples_of

Array = NDArray[np.float64]

#: Of an ensemble's page: name to function of (labels, scores).
SCORES: Mapping[str, Callable[..., Any]] = {"auc": roc_auc, "pauc": partial_auc}
#: Part of the rows that each member would call out, for their disagreement.
FLAGGED = 0.1


def pairwise(names: Sequence[str], scores: Array) -> list[dict[str, Any]]:
    """Return how alike each pair of members is.

    Parameters
    ----------
    names : sequence of str
    scores : (n, K) float64, higher = more malignant

    Returns
    -------
    list of dict
        `a`, `b`; `rank_correlation` (Spearman; None where one is constant); `disagreement`: of the
        rows that either has among its highest tenth, the part that the other has not.
    """
    from scipy.stats import rankdata

    ranked = np.stack([rankdata(column) for column in scores.T], axis=1)
    flagged = ranked > len(ranked) * (1 - FLAGGED) + 0.5
    found = []
    for a, b in combinations(range(len(names)), 2):
        spread = ranked[:, [a, b]].std(axis=0)
        correlation = None
        if (spread > 0).all():
            correlation = float(np.corrcoef(ranked[:, a], ranked[:, b])[0, 1])
        either = int((flagged[:, a] | flagged[:, b]).sum())
        one = int((flagged[:, a] ^ flagged[:, b]).sum())
        found.append(
            {
                "a": names[a],
                "b": names[b],
                "rank_correlation": correlation,
                "disagreement": one / either if either else None,
            }
        )
    return found


def score_members(
    names: Sequence[str],
    members: Array,
    joined: Array,
    without: Callable[[int], Array],
    labels: Array,
    groups: NDArray[Any],
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Return the scores of the ensemble and of its members, and the gain of each.

    Parameters
    ----------
    names : sequence of str
    members : (n, K) float64
    joined : (n,) float64
    without : callable
        Of a member's number: the scores (n,) of the ensemble that lacks it.
    labels, groups : (n,)
        Groups are what the bootstrap draws as a whole.
    resamples, seed : int
        Of the bootstrap; all differences are paired.

    Returns
    -------
    dict
        `ensemble`: metric to interval; `members`: a dict each with its metrics, its `gain` (what
        the ensemble loses without it) and `ensemble_minus_member`.
    """
    draw: dict[str, Any] = {"groups": groups, "n": resamples, "seed": seed}

    def drawn(scores: Array) -> dict[str, tuple[float, Array]]:
        return {
            name: (float(metric(labels, scores)), resamples_of(metric, labels, scores, **draw))
            for name, metric in SCORES.items()
        }

    whole, found = drawn(joined), []
    for number, name in enumerate(names):
        alone = drawn(members[:, number])
        one = {"name": name, **_intervals(alone), "ensemble_minus_member": _minus(whole, alone)}
        if len(names) > 1:
            one["gain"] = _minus(whole, drawn(without(number)))
        found.append(one)
    return {"ensemble": _intervals(whole), "members": found}


def _intervals(drawn: Mapping[str, tuple[float, Array]]) -> dict[str, Any]:
    return {name: Interval.of(value, draws).to_dict() for name, (value, draws) in drawn.items()}


def _minus(
    a: Mapping[str, tuple[float, Array]], b: Mapping[str, tuple[float, Array]]
) -> dict[str, Any]:
    return _intervals({name: (a[name][0] - b[name][0], a[name][1] - b[name][1]) for name in a})
