"""The split of a new training run: the test list kept back, groups and duplicates together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy.typing as npt

from lesioncore.config import FitOptions
from lesioncore.holdout import test_ids
from lesioncore.inspection import Inspected
from lesioncore.progress import log
from lesioncore.readers import test_list
from lesioncore.splits import assign_groups, check_split, make_split

if TYPE_CHECKING:
    import pandas as pd


def training_split(
    seen: Inspected,
    datasets: Sequence[str],
    options: FitOptions,
    labels: npt.ArrayLike | None = None,
    seed: int | None = None,
) -> pd.DataFrame:
    """Return the checked split of a new run, and log its counts.

    Parameters
    ----------
    seen : Inspected
        The images that can be used, and which of them show the same picture.
    datasets : sequence of str
        Names of the readers, for their test lists: what one of them keeps back no other may use.
    options : FitOptions
        Folds, seed, part that validates, test list.
    labels : array_like (n,), optional
        Class of each usable image, to be balanced strictly; see `make_split`.
    seed : int, optional
        In place of the options' own.

    Raises
    ------
    LesionError
        As `make_split` and `test_ids`.
    """
    manifest = seen.manifest
    split = make_split(
        manifest,
        folds=options.folds,
        seed=options.seed if seed is None else seed,
        val_fraction=options.val_fraction,
        labels=labels,
        test_ids=set().union(
            *(_held_back(manifest, dataset, len(datasets), options) for dataset in datasets)
        ),
        groups=assign_groups(manifest, seen.pairs),
    )
    check_split(split, manifest, seen.pairs)
    roles = split["role"].value_counts().to_dict()
    log.info(
        "%d images in %d groups: %s; %d duplicate pairs joined",
        len(split),
        split["group"].nunique(),
        ", ".join(f"{count} {role}" for role, count in roles.items()),
        len(seen.pairs),
    )
    return split


def _held_back(manifest: pd.DataFrame, dataset: str, count: int, options: FitOptions) -> set[str]:
    if options.test_list == "auto" and count > 1 and test_list(dataset) is None:
        # The rule by hash is for an archive's own images; a committed list is for everyone's.
        # (The source of phantoms is "synthetic phantom".)
        manifest = manifest[manifest["source"].str.endswith(dataset)]
    return test_ids(manifest, dataset, options.test_list)
