"""Several archives as one manifest, to learn from all of them together."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lesioncore.config import DataOptions
from lesioncore.errors import UsageError
from lesioncore.progress import log
from lesioncore.readers import load_manifest

if TYPE_CHECKING:
    import pandas as pd


class MixedOptions(Protocol):
    """`DataOptions` with `also`: further archives, name of the reader to folder."""

    @property
    def dataset(self) -> str:
        """Name of the first archive's reader."""

    @property
    def also(self) -> dict[str, Path] | None:
        """Name of each further reader to its folder."""


def archive_names(options: MixedOptions) -> list[str]:
    """Return the names of the readers, the first archive's first."""
    return [options.dataset, *(options.also or {})]


def load_archives(options: DataOptions, *, seed: int = 0, **further: Any) -> pd.DataFrame:
    """Return one manifest of all archives that a command names.

    Parameters
    ----------
    options : DataOptions
        With `also`, see `MixedOptions`. `columns` and `split` are for the first archive; `limit`
        is for each.
    seed : int
        For readers that make their images.
    **further
        Options of the readers, as `load_manifest` takes them.

    Returns
    -------
    DataFrame
        Rows in the order of the archives. An image that several archives hold (the same
        `image_id`) comes from the first of them. Columns that some archives lack are null there.

    Raises
    ------
    UsageError
        One archive named twice.
    LesionError
        As `load_manifest`.
    """
    also: dict[str, Path] = getattr(options, "also", None) or {}
    first = load_manifest(options, seed=seed, **further)
    if not also:
        return first
    if options.dataset in also:
        raise UsageError(
            f"{options.dataset} is both --dataset and --also", wanted="each archive once"
        )
    import pandas as pd

    parts = [first]
    for name, root in also.items():
        other = dataclasses.replace(options, dataset=name, root=root, columns=None, split="auto")
        parts.append(load_manifest(other, seed=seed, **further))
    table = pd.concat(parts, ignore_index=True)
    again = table["image_id"].astype(str).duplicated()
    if again.any():
        log.info("%d images are in several archives; the first one's are taken", int(again.sum()))
    for source, count in table[~again].groupby("source", sort=False).size().items():
        log.info("%s: %d images", source, count)
    return table[~again].reset_index(drop=True)
