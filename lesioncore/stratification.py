"""Dealing groups into parts so that each part gets its share of every class."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lesioncore.errors import LesionError


def deal(
    groups: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    shares: npt.NDArray[np.float64],
    seed: int,
    *,
    strict: bool,
) -> npt.NDArray[np.int64]:
    """Return the part of each row, 0 to len(shares) - 1, the same for all rows of a group.

    Parameters
    ----------
    groups : (rows,)
        What stays together.
    labels : (rows,)
        Class of each row; null is a class of its own.
    shares : (parts,)
        How much of the rows each part should get; they add up to 1.
    strict : bool
        Refuse a known class that has fewer groups than parts; otherwise it is not balanced.

    Raises
    ------
    LesionError
        Fewer groups than parts, in all or (with `strict`) of one class.

    Notes
    -----
    Each part first gets one group of each class, then the groups that hold most of the rarest
    classes are dealt one by one to where they disturb the shares least. This is the idea of
    scikit-learn's StratifiedGroupKFold, for parts of unequal size and in time for 300,000 groups.
    """
    import pandas as pd

    names, code = np.unique(groups.astype(str), return_inverse=True)
    classes, known = pd.factorize(pd.Series(labels), sort=True)
    parts = len(shares)
    if len(names) < parts:
        raise LesionError(
            f"{len(names)} groups (patients, lesions) are left to train and validate on, "
            f"for {parts} parts",
            wanted=f"at least {parts} groups outside the test list",
            mend="use more images, fewer --folds, or --test-list none",
        )
    table = np.zeros((len(names), len(known) + 1))  # the last column is "unknown"
    np.add.at(table, (code, np.where(classes < 0, len(known), classes)), 1)
    spread = (table > 0).sum(axis=0)
    if strict and (spread[: len(known)] < parts).any():
        least = int(np.argmin(spread[: len(known)]))
        raise LesionError(
            f"class {known[least]:g} has {int(spread[least])} groups (patients, lesions) and "
            f"{int(table[:, least].sum())} images outside the test list, for {parts} parts",
            wanted=f"at least {parts} groups of each class",
            mend="use more images, fewer --folds, or another label policy",
        )
    balanced = spread >= parts
    table = table[:, balanced] if balanced.any() else table.sum(axis=1, keepdims=True)
    return _greedy(table, shares, np.random.default_rng(seed))[code]


def _greedy(
    table: npt.NDArray[np.float64],
    shares: npt.NDArray[np.float64],
    generator: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Return the part of each group, given how many rows of each class (G, C) it has."""
    weight = np.column_stack([table / table.sum(axis=0), np.full(len(table), 1 / len(table))])
    order = generator.permutation(len(table))
    order = order[np.argsort(-weight.sum(axis=1)[order], kind="stable")]
    part_of = np.full(len(table), -1, dtype=np.int64)
    # The rarest class first; its smallest groups, so that the shares stay free to be met.
    for c in np.argsort((table > 0).sum(axis=0), kind="stable"):
        holders = order[table[order, c] > 0][::-1]
        for part in range(len(shares)):
            left = holders[part_of[holders] < 0]
            if len(left) and not (part_of[holders] == part).any():
                part_of[left[0]] = part
    full = [
        (weight[part_of == part].sum(axis=0) / shares[part]).tolist() for part in range(len(shares))
    ]
    # Plain lists: a numpy call for each of 300,000 groups would take a minute.
    parts, size = range(len(shares)), shares.tolist()
    for index in order:
        if part_of[index] >= 0:
            continue
        row = weight[index].tolist()
        present = [c for c, value in enumerate(row) if value]
        # Growth of the squared distance between what each part has and its share.
        costs = [
            sum(row[c] * (2 * full[part][c] - 2 + row[c] / size[part]) for c in present)
            for part in parts
        ]
        best = costs.index(min(costs))
        for c in present:
            full[best][c] += row[c] / size[best]
        part_of[index] = best
    return part_of
