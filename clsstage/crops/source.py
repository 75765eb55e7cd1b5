"""An image and its mask from where they lie, checked to belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lesioncore.cache.entry import MaskEntry
from lesioncore.errors import LesionError
from lesioncore.files import sha256_bytes
from lesioncore.images import decode_image, read_image, read_image_bytes, read_mask

if TYPE_CHECKING:
    from lesioncore.cache import MaskCache


class Source(NamedTuple):
    """What was read: (H, W, 3) uint8 RGB, its mask or None, and SHA-256 of the image's bytes."""

    image: NDArray[np.uint8]
    mask: MaskEntry | None
    sha256: str


def read_source(image_id: str, image: str, cache: MaskCache | None = None) -> Source:
    """Return an image and, from a cache, its mask.

    Parameters
    ----------
    image_id : str
    image : str
        Path, or `store.hdf5::key`.
    cache : MaskCache, optional
        Left out, no mask is read.

    Raises
    ------
    LesionError
        The image cannot be read, or is not the one its mask was made on.
    """
    data = read_image_bytes(image)
    pixels, sha256 = decode_image(data, image), sha256_bytes(data)
    mask = None if cache is None else cache.read(image_id)
    if mask is not None and mask.image_sha256 and mask.image_sha256 != sha256:
        raise LesionError(
            f"the image {image_id!r} has changed since its mask was made",
            wanted="the same bytes",
            mend="run segstage cache again on these images",
        )
    return Source(pixels, mask, sha256)


def read_drawn(image_id: str, image: str, mask: str) -> tuple[NDArray[np.uint8], MaskEntry]:
    """Return a synthetic image and the mask that came with it, as files.

    Raises
    ------
    LesionError
        A file is missing or broken, or the two differ in size.
    """
    pixels = read_image(image)
    entry = MaskEntry.from_mask(
        image_id=image_id,
        image_sha256="",
        mask=read_mask(mask, (pixels.shape[0], pixels.shape[1])),
        member="truth",
        in_sample=False,
    )
    return pixels, entry
