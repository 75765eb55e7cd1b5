"""Images and masks of a manifest, for training and for prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lesioncore.errors import LesionError
from lesioncore.files import sha256_bytes
from lesioncore.images import decode_image, read_image, read_image_bytes, read_mask
from lesioncore.progress import log
from lesioncore.transforms import JointTransform
from segstage.stretch import stretch
from segstage.teacher import Teacher

if TYPE_CHECKING:
    import pandas as pd


_SHOWN = 5


def with_masks(
    manifest: pd.DataFrame, max_failed: int = 0, teacher: Teacher | None = None
) -> pd.DataFrame:
    """Return the rows that name a mask, or for which a teacher has one.

    Raises
    ------
    LesionError
        No row does, or more than `max_failed` do not.
    """
    missing = manifest["mask"].isna()
    if teacher is not None:
        teacher.check(manifest)
        missing &= ~manifest["image_id"].astype(str).map(teacher.knows).astype(bool)
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


class SegmentationDataset(Dataset[tuple[Tensor, Tensor]]):
    """Pairs of image and mask at the working resolution.

    Parameters
    ----------
    manifest : DataFrame
        With `image` and `mask`.
    transform : JointTransform
        From images and masks of any size to one size.
    teacher : Teacher, optional
        Blends its soft masks into the true ones, and stands in where a row names none.

    Notes
    -----
    Items are ``(size, size, 3) uint8 RGB`` and ``(size, size) uint8`` with 255 on the lesion (grey
    on a border that fell between pixels). The network normalises pixels itself, on its device.
    """

    def __init__(
        self, manifest: pd.DataFrame, transform: JointTransform, teacher: Teacher | None = None
    ) -> None:
        # Plain lists: a forked worker would copy the pages of a table by counting references.
        self.images = np.asarray(manifest["image"], dtype=np.str_)
        self.masks = np.asarray(manifest["mask"].fillna(""), dtype=np.str_)
        self.ids = np.asarray(manifest["image_id"], dtype=np.str_)
        self.teacher = teacher
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = read_image(str(self.images[index]))
        name = str(self.masks[index])
        mask = read_mask(name, image.shape[:2]) if name else None
        if self.teacher is not None:
            target = self.teacher.target(str(self.ids[index]), mask)
        else:
            assert mask is not None
            target = mask.astype(np.uint8) * 255
        small, outline = self.transform(image, target)
        assert outline is not None
        return torch.from_numpy(small), torch.from_numpy(outline)

    def reseed(self, seed: int) -> None:
        """Seed the augmentation."""
        self.transform.reseed(seed)


class ImageBatchItem(NamedTuple):
    """One image on its way to the segmenter.

    Attributes
    ----------
    row : int
        Its row in the manifest.
    sha256 : str
    shape : (H, W)
        Original size; (0, 0) when it could not be read.
    pixels : (size, size, 3) uint8 RGB or None
        None where it could not be read, or where its mask is there already.
    problem : str
    others : dict of int to (s, s, 3) uint8 RGB
        The image at further sizes, for segmenters that want another.
    """

    row: int
    sha256: str
    shape: tuple[int, int]
    pixels: NDArray[np.uint8] | None
    problem: str
    others: dict[int, NDArray[np.uint8]] = {}  # noqa: RUF012  never written to


class ImageStream(Dataset[ImageBatchItem]):
    """Images at the working resolution with their hashes; unreadable ones become a problem.

    Parameters
    ----------
    references : sequence of str
        Paths or ``store.hdf5::key``.
    size : int
    finished : sequence of str
        For each image the hash with which it is done already, or "".
    others : sequence of int
        Further sizes to give each image at.
    """

    def __init__(
        self, references: Any, size: int, finished: Any = None, others: Sequence[int] = ()
    ) -> None:
        self.references = np.asarray(references, dtype=np.str_)
        self.size = size
        self.others = tuple(others)
        # As bytes: a quarter of the memory of text, and archives have 400,000 images.
        self.finished = None if finished is None else np.asarray(finished, dtype=np.bytes_)

    def __len__(self) -> int:
        return len(self.references)

    def __getitem__(self, row: int) -> ImageBatchItem:
        digest, name = "", str(self.references[row])
        try:
            data = read_image_bytes(name)
            digest = sha256_bytes(data)
            if self.finished is not None and self.finished[row] == digest.encode():
                return ImageBatchItem(row, digest, (0, 0), None, "")
            image = decode_image(data, name)
        except LesionError as error:
            return ImageBatchItem(row, digest, (0, 0), None, error.found)
        shape = (image.shape[0], image.shape[1])
        others = {size: stretch(image, size) for size in self.others}
        return ImageBatchItem(row, digest, shape, stretch(image, self.size), "", others)
