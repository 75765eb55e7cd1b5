"""How well reviewers agree on the images that two of them got."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import Any

import numpy as np
from sqlalchemy import func, select

from lesioncore.metrics import bootstrap, dice, mean
from lesioncore.metrics.bootstrap import Interval
from pipelines.qa.decisions import JUDGED, Decision, after_mask
from pipelines.qa.queue import PASSED
from pipelines.qa.store import Store
from pipelines.qa.tables import decisions

#: Below this Dice, or with different actions, two decisions are listed as a disagreement.
SAME_DICE = 0.95


def agreement(store: Store, *, resamples: int = 1000) -> list[dict[str, Any]]:
    """Return the agreement of each pair of reviewers, those with the most images first.

    Compared are the last decisions that stand, on the same mask.

    Returns
    -------
    list of dict
        `reviewers`, `images`; `dice`, the mean overlap of the masks that both asked for (an empty
        one for a rejection; images that one of them flagged are left out); `kappa`, Cohen's kappa
        of accept, edit, reject and flag (Cohen, 1960); `same`, the part on which both did the same.
        Each of the three has `value`, `low` and `high`, None where it is not defined. `differ`
        lists the images to settle.
    """
    pairs: dict[tuple[str, str], list[tuple[Decision, Decision]]] = defaultdict(list)
    for group in _by_image(store).values():
        for one, two in combinations(group, 2):
            if one.version == two.version:
                pairs[one.reviewer, two.reviewer].append((one, two))
    found = [_pair(names, both, resamples) for names, both in pairs.items()]
    return sorted(found, key=lambda one: (-one["images"], one["reviewers"]))


def cohen_kappa(first: Any, second: Any) -> float:
    """Return Cohen's kappa of two sequences (n,) of labels; NaN where both never vary."""
    one, two = np.asarray(first), np.asarray(second)
    by_chance = sum(float((one == name).mean() * (two == name).mean()) for name in {*one, *two})
    if by_chance >= 1:
        return float("nan")
    return (float((one == two).mean()) - by_chance) / (1 - by_chance)


def _by_image(store: Store) -> dict[str, list[Decision]]:
    """Return the last decision of each reviewer on images that several decided on."""
    stand = decisions.c.undone_at.is_(None) & (decisions.c.action != PASSED)
    several = (
        select(decisions.c.image_id)
        .where(stand)
        .group_by(decisions.c.image_id)
        .having(func.count(decisions.c.reviewer.distinct()) > 1)
    )
    last = (
        select(func.max(decisions.c.id))
        .where(stand, decisions.c.image_id.in_(several))
        .group_by(decisions.c.image_id, decisions.c.reviewer)
    )
    query = select(decisions).where(decisions.c.id.in_(last))
    found: dict[str, list[Decision]] = defaultdict(list)
    with store.reading() as connection:
        for row in connection.execute(query.order_by(decisions.c.image_id, decisions.c.reviewer)):
            found[row.image_id].append(row)
    return found


def _pair(
    names: tuple[str, str], both: list[tuple[Decision, Decision]], resamples: int
) -> dict[str, Any]:
    first = np.array([one.action for one, _ in both])
    second = np.array([two.action for _, two in both])
    drawn = np.array([_judged(one, two) for one, two in both])
    overlaps = np.array(
        [dice(after_mask(one), after_mask(two)) for one, two in both if _judged(one, two)]
    )
    apart = np.ones(len(both), bool)
    apart[drawn] = overlaps < SAME_DICE
    # Edits that come out alike are one opinion, whoever took the brush.
    apart[~drawn] = first[~drawn] != second[~drawn]
    return {
        "reviewers": list(names),
        "images": len(both),
        "dice": _interval(resamples, mean, overlaps),
        "kappa": _interval(resamples, cohen_kappa, first, second),
        "same": _interval(resamples, mean, first == second),
        "differ": [one.image_id for (one, _), far in zip(both, apart, strict=True) if far],
    }


def _judged(one: Decision, two: Decision) -> bool:
    return one.action in JUDGED and two.action in JUDGED


def _interval(resamples: int, metric: Any, *arrays: Any) -> dict[str, float | None]:
    if not len(arrays[0]):
        return Interval(*[float("nan")] * 3).to_dict()
    if resamples == 0:
        value = float(metric(*arrays))
        return Interval(value, float("nan"), float("nan")).to_dict()
    return bootstrap(metric, *arrays, n=resamples).to_dict()
