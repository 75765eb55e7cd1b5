"""Images and masks of a manifest, for training, and the check that all of them can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lesioncore.duplicates import COPY_SIZE, grey_copy
from lesioncore.errors import LesionError
from lesioncore.files import sha256_bytes
from lesioncore.images import decode_image, read_image, read_image_bytes, read_mask
from lesioncore.transforms import JointTransform

if TYPE_CHECKING:
    import pandas as pd


class SegmentationDataset(Dataset[tuple[Tensor, Tensor]]):
    """Pairs of image and mask at the working resolution.

    Parameters
    ----------
    manifest : DataFrame
        With `image` and `mask`.
    transform : JointTransform
        From images and masks of any size to one size.

    Notes
    -----
    Items are ``(size, size, 3) uint8 RGB`` and ``(size, size) uint8`` with 255 on the lesion (grey
    on a border that fell between pixels). The network normalises pixels itself, on its device.
    """

    def __init__(self, manifest: pd.DataFrame, transform: JointTransform) -> None:
        # Plain lists: a forked worker would copy the pages of a table by counting references.
        self.images = np.asarray(manifest["image"], dtype=np.str_)
        self.masks = np.asarray(manifest["mask"], dtype=np.str_)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = read_image(str(self.images[index]))
        mask = read_mask(str(self.masks[index]), image.shape[:2])
        small, outline = self.transform(image, mask.astype(np.uint8) * 255)
        assert outline is not None
        return torch.from_numpy(small), torch.from_numpy(outline)

    def reseed(self, seed: int) -> None:
        """Seed the augmentation."""
        self.transform.reseed(seed)


class Inspection(NamedTuple):
    """What one look at an image and its mask gave.

    Attributes
    ----------
    sha256 : str
        Of the image's bytes; empty when they could not be read.
    problem : str
        Why the pair cannot be trained on; empty when it can.
    grey : (COPY_SIZE, COPY_SIZE) float32
        Small grey copy, for near duplicates; zeros where there is a problem.
    """

    sha256: str
    problem: str
    grey: NDArray[np.float32]


class InspectionDataset(Dataset[Inspection]):
    """Reads every image and mask once: hash, size, whether they can be decoded."""

    def __init__(self, manifest: pd.DataFrame) -> None:
        self.images = np.asarray(manifest["image"], dtype=np.str_)
        self.masks = np.asarray(manifest["mask"], dtype=np.str_)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Inspection:
        digest = ""
        try:
            data = read_image_bytes(str(self.images[index]))
            digest = sha256_bytes(data)
            image = decode_image(data, str(self.images[index]))
            read_mask(str(self.masks[index]), image.shape[:2])
        except LesionError as error:
            blank = np.zeros((COPY_SIZE, COPY_SIZE), dtype=np.float32)
            return Inspection(digest, error.found, blank)
        return Inspection(digest, "", grey_copy(image))


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
    """

    row: int
    sha256: str
    shape: tuple[int, int]
    pixels: NDArray[np.uint8] | None
    problem: str


class ImageStream(Dataset[ImageBatchItem]):
    """Images at the working resolution with their hashes; unreadable ones become a problem.

    Parameters
    ----------
    references : sequence of str
        Paths or ``store.hdf5::key``.
    size : int
    finished : sequence of str
        For each image the hash with which it is done already, or "".
    """

    def __init__(self, references: Any, size: int, finished: Any = None) -> None:
        self.references = np.asarray(references, dtype=np.str_)
        self.size = size
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
        return ImageBatchItem(row, digest, shape, stretch(image, self.size), "")


def stretch(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return an (H, W, 3) uint8 image at size x size: area average down, linear up.

    The same as `lesioncore.transforms.segmentation_eval`, which training uses.
    """
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    down = size < height or size < width
    method = cv2.INTER_AREA if down else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=method))
