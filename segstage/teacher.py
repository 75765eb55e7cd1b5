"""Distillation: the soft masks of a cache as targets, beside the true masks or in their place.

A cascade or an ensemble that is too slow to ship segments an archive once (`segstage cache`), and a
small network learns from its probabilities (Hinton, Vinyals and Dean, arXiv 1503.02531).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesioncore.cache import MaskCache
from lesioncore.errors import LesionError
from lesioncore.files import PathLike
from lesioncore.progress import log

if TYPE_CHECKING:
    import pandas as pd


class Teacher:
    """The masks of a cache as targets.

    Parameters
    ----------
    folder : path
        Mask cache.
    weight : float in [0, 1]
        Part of the teacher in the target of an image that has a true mask.
    """

    def __init__(self, folder: PathLike, weight: float = 0.5) -> None:
        self.cache = MaskCache(folder)
        self.weight = weight

    def knows(self, image_id: str) -> bool:
        """Whether the cache holds a mask of an image, be it an empty one."""
        return image_id in self.cache and self.cache.row(image_id).status != "failed"

    def target(self, image_id: str, truth: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
        """Return what to learn for an image.

        Parameters
        ----------
        image_id : str
        truth : (H, W) bool or None

        Returns
        -------
        (H, W) uint8
            255 on the lesion: ``weight * soft + (1 - weight) * truth``; the truth alone where the
            cache has no mask, the soft mask alone where there is no truth.
        """
        if not self.knows(image_id):
            if truth is None:
                raise LesionError(f"no mask of {image_id}, neither true nor cached")
            return truth.astype(np.uint8) * 255
        soft = self.cache.read(image_id).soft()
        if truth is None:
            return np.asarray(soft, np.uint8)
        if truth.shape != soft.shape:
            raise LesionError(
                f"{image_id}: the cached mask has shape {soft.shape}, the true one {truth.shape}",
                wanted="a cache of these very images",
            )
        mixed = self.weight * soft.astype(np.float32) + (1 - self.weight) * 255.0 * truth
        return np.asarray(np.round(mixed), np.uint8)

    def check(self, manifest: pd.DataFrame) -> None:
        """Say how many images the cache teaches, and warn of masks that flatter it.

        Raises
        ------
        LesionError
            It holds none of them.
        """
        ids = manifest["image_id"].astype(str)
        known = [image_id for image_id in ids if self.knows(image_id)]
        if not known:
            raise LesionError(
                f"the teacher {self.cache.folder} holds none of these {len(ids)} images",
                mend="segstage cache --weights RUN --out DIR on the same --dataset and --root",
            )
        flattering = sum(bool(self.cache.row(image_id).in_sample) for image_id in known)
        log.info("the teacher has masks of %d of %d images", len(known), len(ids))
        if flattering:
            log.warning(
                "%d of them are of images that the teacher learned from: they follow the truth "
                "more closely than it does elsewhere",
                flattering,
            )
