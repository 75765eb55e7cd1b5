"""A look at every image and mask before training: all faults are told at once, none at epoch 7."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesioncore.devices import choose_workers
from lesioncore.errors import LesionError
from lesioncore.loading import make_loader
from lesioncore.progress import log, track
from segstage.dataset import InspectionDataset

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 5


@dataclass(frozen=True)
class Inspected:
    """Images that can be trained on, and what was seen of them.

    Attributes
    ----------
    manifest : DataFrame
        The usable rows.
    digests : dict of str to str
        Image id to the SHA-256 of its bytes.
    copies : (n, side, side) float32
        Small grey copies, in the manifest's order.
    """

    manifest: pd.DataFrame
    digests: dict[str, str]
    copies: NDArray[np.float32]


def with_masks(manifest: pd.DataFrame, max_failed: int = 0) -> pd.DataFrame:
    """Return the rows that name a mask.

    Raises
    ------
    LesionError
        No row does, or more than `max_failed` do not.
    """
    missing = manifest["mask"].isna()
    count = int(missing.sum())
    if count == 0:
        return manifest
    first = ", ".join(manifest.loc[missing, "image_id"].astype(str).head(_SHOWN))
    if count == len(manifest):
        raise LesionError(
            f"none of the {count} images has a mask",
            wanted="an archive with lesion masks (isic-task1, ham10000, ph2, folder, phantom)",
        )
    if count > max_failed:
        raise LesionError(
            f"{count} of {len(manifest)} images have no mask (first: {first})",
            wanted="a mask for each image",
            mend=f"add the masks, or --max-failed {count} to leave these images out",
        )
    log.warning("%d images without a mask are left out (first: %s)", count, first)
    return manifest[~missing].reset_index(drop=True)


def inspect_images(manifest: pd.DataFrame, *, workers: int, max_failed: int = 0) -> Inspected:
    """Read every image and mask of a manifest once.

    Parameters
    ----------
    manifest : DataFrame
        Every row names a mask.
    workers : int
        Loader processes; -1 chooses.
    max_failed : int
        Leave out up to this many unusable images.

    Raises
    ------
    LesionError
        More images than that are corrupt, or have a mask of another size; the first are named.
    """
    loader = make_loader(
        InspectionDataset(manifest), 32, workers=choose_workers(workers), collate=list
    )
    seen = [item for batch in track(loader, "checking images") for item in batch]
    bad = [number for number, item in enumerate(seen) if item.problem]
    if len(bad) > max_failed or len(bad) == len(seen):
        lines = "".join(f"\n  - {seen[number].problem}" for number in bad[:_SHOWN])
        more = f"\n  - and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise LesionError(
            f"{len(bad)} of {len(seen)} images cannot be used:{lines}{more}",
            wanted="images that open, each with a mask of its own size",
            mend=f"mend the files, or --max-failed {len(bad)} to leave these images out",
        )
    for number in bad:
        log.warning("left out: %s", seen[number].problem)
    good = [number for number, item in enumerate(seen) if not item.problem]
    usable = manifest.iloc[good].reset_index(drop=True)
    return Inspected(
        usable,
        dict(zip(usable["image_id"].astype(str), (seen[n].sha256 for n in good), strict=True)),
        np.stack([seen[number].grey for number in good]),
    )
