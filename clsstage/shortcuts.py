"""Metadata about how a picture was taken rather than about the lesion; only for those who ask.

The ISIC 2020 winners gave their networks the number of images of the patient and the size of the
file (github.com/haqishen/SIIM-ISIC-Melanoma-Classification-1st-Place-Solution, dataset.py). Both
follow how one archive was collected. They are here to repeat that recipe and to measure what it
owes to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesioncore.errors import LesionError
from lesioncore.images import read_image_bytes, split_reference
from lesioncore.progress import log

if TYPE_CHECKING:
    import pandas as pd

#: Columns that `--metadata` offers by name and `auto` never takes.
SHORTCUTS = ("n_images", "file_size")


def with_shortcuts(manifest: pd.DataFrame, columns: Sequence[str] | None) -> pd.DataFrame:
    """Return a manifest with those shortcut columns that are asked for and not yet there.

    Parameters
    ----------
    manifest : DataFrame
        See `lesioncore.records`. The whole archive, since images of a patient are counted.
    columns : sequence of str, optional
        Names of metadata columns; those that are no shortcuts are passed over.

    Returns
    -------
    DataFrame
        The manifest itself where there is nothing to add, else a copy with `n_images` (log(1 + n)
        of the n images of the patient here, null where the patient is unknown) and `file_size`
        (natural logarithm of the bytes of the image as stored, null where it cannot be had).
    """
    wanted = [n for n in SHORTCUTS if n in (columns or ()) and n not in manifest]
    made = {"n_images": _patient_images, "file_size": _file_sizes}
    return (
        manifest.assign(**{name: made[name](manifest) for name in wanted}) if wanted else manifest
    )


def warn_of_shortcuts(columns: Sequence[str] | None) -> None:
    """Say what shortcut columns are worth where some are asked for."""
    asked = [name for name in SHORTCUTS if name in (columns or ())]
    if asked:
        log.warning(
            "%s: shortcuts of how the archive was collected, from the ISIC 2020 recipe; what is "
            "learned from them does not hold elsewhere",
            " and ".join(asked),
        )


def _patient_images(manifest: pd.DataFrame) -> NDArray[np.float64]:
    if "patient_id" not in manifest:
        return np.full(len(manifest), np.nan)
    # Archives number their patients each on their own.
    keys = ["source", "patient_id"] if "source" in manifest else ["patient_id"]
    counts = manifest.groupby(keys, dropna=False)["patient_id"].transform("size")
    counts = counts.where(manifest["patient_id"].notna())
    return np.asarray(np.log1p(counts.to_numpy(np.float64, na_value=np.nan)))


def _file_sizes(manifest: pd.DataFrame) -> NDArray[np.float64]:
    return np.array([_log_bytes(image) for image in manifest["image"]], np.float64)


def _log_bytes(image: object) -> float:
    if not isinstance(image, str):
        return float("nan")
    path, key = split_reference(image)
    try:
        size = Path(path).stat().st_size if key is None else len(read_image_bytes(image))
    except (OSError, LesionError):
        return float("nan")  # what cannot be read is reported where the picture is needed
    return float(np.log(size)) if size else float("nan")
