"""The official splits that an archive comes in: training, validation, test."""

from __future__ import annotations

from collections.abc import Sequence

from lesioncore.errors import unknown_name


def check_split_name(dataset: str, split: str, known: Sequence[str]) -> str:
    """Return `split` if it is `auto` or one of `known`; else raise a `UsageError` that lists them."""
    if split != "auto" and split not in known:
        raise unknown_name(f"split of {dataset}", split, ("auto", *known))
    return split
