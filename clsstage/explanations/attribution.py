"""How much each piece of metadata moved the answer: Shapley values against "unknown".

Strumbelj and Kononenko: Explaining prediction models and individual predictions with feature
contributions, Knowledge and Information Systems 2014. Missing metadata is a state that the
classifier knows from training, so leaving a value out needs no made-up one in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clsstage.members import Member

#: Up to so many known values every subset is asked for; beyond it orders are drawn.
EXACT = 6
_ORDERS = 32


def metadata_attributions(
    member: Member, image: Tensor, row: Mapping[str, Any], *, seed: int = 0
) -> dict[str, float]:
    """Return what each known value adds to the log-odds of malignancy, largest effect first.

    Their sum is the log-odds with all that is known less the log-odds with nothing known. Exact up
    to `EXACT` known values; beyond it the mean over 32 orders and their reverses.

    Parameters
    ----------
    member : Member
    image : (1, planes, S, S) float32
    row : mapping
        Values in the words of the manifest; absent, None and NaN are unknown.
    seed : int
        Of the drawn orders.
    """
    lacking = set(member.encoder.missing(row))
    known = [name for name in member.encoder.columns if name not in lacking]
    if not known:
        return {}
    kept = _exact_sets(known) if len(known) <= EXACT else None
    orders = [] if kept is not None else _orders(known, seed)
    if kept is None:
        kept = {frozenset(order[:k]) for order in orders for k in range(len(known) + 1)}
    worth = _log_odds(member, image, row, sorted(kept, key=sorted))
    found = _exact(known, worth) if not orders else _sampled(known, orders, worth)
    return dict(sorted(found.items(), key=lambda item: -abs(item[1])))


def _exact_sets(known: list[str]) -> set[frozenset[str]]:
    return {frozenset(some) for k in range(len(known) + 1) for some in combinations(known, k)}


def _orders(known: list[str], seed: int) -> list[tuple[str, ...]]:
    rng = np.random.default_rng(seed)
    drawn = [tuple(rng.permutation(known).tolist()) for _ in range(_ORDERS)]
    # An order with its reverse: much of the noise of one is undone by the other.
    return [order for one in drawn for order in (one, one[::-1])]


@torch.inference_mode()
def _log_odds(
    member: Member, image: Tensor, row: Mapping[str, Any], sets: list[frozenset[str]]
) -> dict[frozenset[str], float]:
    """Return the log-odds of malignancy with only these columns known, for each set."""
    network = member.network
    maps = network.maps(image)
    found: dict[frozenset[str], float] = {}
    offset = torch.tensor(member.offset, device=image.device)
    for start in range(0, len(sets), 64):
        part = sets[start : start + 64]
        codes = np.stack(
            [member.encoder.transform_row({name: row.get(name) for name in some}) for some in part]
        )
        metadata = torch.from_numpy(codes).to(image.device)
        many = maps.expand(len(part), *maps.shape[1:])
        seen = image.expand(len(part), *image.shape[1:])
        outputs = network.classify(network.fuse(many, seen, metadata)).float()
        logits = member.target.logit(outputs + offset)
        found |= dict(zip(part, logits.tolist(), strict=True))
    return found


def _exact(known: list[str], worth: Mapping[frozenset[str], float]) -> dict[str, float]:
    count, found = len(known), {}
    for name in known:
        others, total = [other for other in known if other != name], 0.0
        for size in range(count):
            weight = factorial(size) * factorial(count - size - 1) / factorial(count)
            for some in map(frozenset, combinations(others, size)):
                total += weight * (worth[some | {name}] - worth[some])
        found[name] = total
    return found


def _sampled(
    known: list[str], orders: list[tuple[str, ...]], worth: Mapping[frozenset[str], float]
) -> dict[str, float]:
    total = dict.fromkeys(known, 0.0)
    for order in orders:
        before = worth[frozenset()]
        for place, name in enumerate(order):
            after = worth[frozenset(order[: place + 1])]
            total[name] += after - before
            before = after
    return {name: value / len(orders) for name, value in total.items()}
