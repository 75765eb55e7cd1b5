"""Finding the same picture twice: by the hash of its bytes, and by small grey-level copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from lesioncore.errors import LesionError
from lesioncore.images import image_sha256
from lesioncore.progress import log, track

if TYPE_CHECKING:
    import pandas as pd

#: Side of a grey copy in pixels.
COPY_SIZE = 32
#: Correlation from which two copies count as one picture. On 7,100 dermoscopy images real copies
#: (another crop, another white balance) reach down to 0.89 and different lesions up to 0.94. To
#: join two lesions into one group costs nothing, to miss a copy leaks, so it lies at the low end.
NEAR = 0.88
#: Above this many pictures near copies are not looked for: all pairs are compared.
MOST_COMPARED = 50_000


def content_duplicates(manifest: pd.DataFrame) -> list[tuple[str, str]]:
    """Return pairs of images whose files have the same bytes.

    Parameters
    ----------
    manifest : DataFrame
        With `image_id` and `image`; rows without an image are left out.

    Returns
    -------
    list of (image_id, image_id)
        The first image with some content in the manifest's order, and each later one: enough for
        `assign_groups` to join them all.

    Raises
    ------
    LesionError
        An image file is missing.
    """
    rows = manifest[manifest["image"].notna()]
    pictures = zip(rows["image_id"].astype(str), rows["image"], strict=True)
    digests = {
        image_id: image_sha256(image)
        for image_id, image in track(pictures, "looking for duplicates", total=len(rows))
    }
    return duplicate_pairs(digests, None)


def looks_for_near(count: int, wanted: bool) -> bool:
    """Whether near copies are looked for among `count` pictures; a warning says when not."""
    if wanted and count > MOST_COMPARED:
        log.warning(
            "%d images are too many to look for near duplicates (at most %d): only equal files, "
            "patients and lesions keep images together",
            count,
            MOST_COMPARED,
        )
    return wanted and count <= MOST_COMPARED


def duplicate_pairs(
    digests: Mapping[str, str], copies: npt.NDArray[np.float32] | None
) -> list[tuple[str, str]]:
    """Return pairs of images that show the same picture: equal bytes, or nearly equal copies.

    Parameters
    ----------
    digests : mapping of str to str
        Image id to the SHA-256 of its bytes.
    copies : (n, S, S) float32 or None
        From `grey_copy`, in the order of `digests`; None looks at the bytes alone.
    """
    first: dict[str, str] = {}
    pairs = []
    for image_id, digest in digests.items():
        original = first.setdefault(digest, image_id)
        if original != image_id:
            pairs.append((original, image_id))
    return pairs if copies is None else pairs + near_duplicates(list(digests), copies)


def grey_copy(image: npt.NDArray[np.uint8], size: int = COPY_SIZE) -> npt.NDArray[np.float32]:
    """Return the centre square of an (H, W, 3) uint8 RGB image as (size, size) float32 grey levels.

    The square makes copies comparable that were cropped to one.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(image[top : top + side, left : left + side])
    grey = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)


def near_duplicates(
    image_ids: Sequence[str], copies: npt.NDArray[np.float32], threshold: float = NEAR
) -> list[tuple[str, str]]:
    """Return pairs of images whose grey copies correlate at `threshold` or more.

    Parameters
    ----------
    image_ids : (n,) str
    copies : (n, S, S) float32
        From `grey_copy`.
    threshold : float
        Correlation after a blur of three pixels is subtracted: most photographs share a dark spot
        in the middle, and only detail tells them apart.

    Notes
    -----
    All pairs are compared, n x n x S x S operations: seconds for 7,000 images, about ten minutes
    for 100,000. Turned or mirrored copies are not found.
    """
    if len(image_ids) != len(copies):
        raise LesionError(f"{len(image_ids)} ids for {len(copies)} copies", wanted="one id a copy")
    if len(copies) == 0:
        return []
    detail = np.stack([copy - cv2.GaussianBlur(copy, (0, 0), 3) for copy in copies])
    flat = detail.reshape(len(copies), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    flat = flat / np.maximum(length, 1e-6)  # a picture of one colour correlates with nothing
    pairs = []
    for start in range(0, len(flat), 2048):
        correlation = flat[start : start + 2048] @ flat[start:].T
        for a, b in np.argwhere(np.triu(correlation, 1) >= threshold):
            pairs.append((image_ids[start + a], image_ids[start + b]))
    return pairs
