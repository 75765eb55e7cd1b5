"""A look at every image before a training: all faults are told at once, none at epoch 7."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from lesioncore.devices import choose_workers
from lesioncore.duplicates import duplicate_pairs, grey_copy, looks_for_near
from lesioncore.errors import LesionError
from lesioncore.files import sha256_bytes
from lesioncore.images import decode_image, read_image_bytes, read_mask
from lesioncore.integrity import defect
from lesioncore.loading import make_loader
from lesioncore.progress import log, track

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 5
_BATCH = 32


@dataclass(frozen=True)
class Inspected:
    """Images that can be trained on, and what was seen of them.

    Attributes
    ----------
    manifest : DataFrame
        The usable rows.
    kept : (n,) bool
        Which rows of the manifest that was inspected these are.
    digests : dict of str to str
        Image id to the SHA-256 of its bytes.
    pairs : list of (image_id, image_id)
        Images that show the same picture: equal bytes, or nearly equal copies.
    """

    manifest: pd.DataFrame
    kept: NDArray[np.bool_]
    digests: dict[str, str]
    pairs: list[tuple[str, str]]


def inspect_images(
    manifest: pd.DataFrame,
    *,
    masks: bool = False,
    near: bool = True,
    workers: int = -1,
    max_failed: int = 0,
) -> Inspected:
    """Read every image of a manifest once.

    Bytes are hashed and their structure is checked. Pixels are decoded only for masks or to look
    for near copies; above `lesioncore.duplicates.MOST_COMPARED` images that is left out, so
    400,000 tiles take minutes, not hours.

    Parameters
    ----------
    manifest : DataFrame
    masks : bool
        Look at the mask too, where a row names one: it is of the size of its image.
    near : bool
        Look for near copies too.
    workers : int
        Loader processes; -1 chooses.
    max_failed : int
        Leave out up to this many unusable images.

    Raises
    ------
    LesionError
        More images than that are missing, corrupt, or have a mask of another size; the first are
        named.
    """
    near = looks_for_near(len(manifest), near)
    looks = _Looks(manifest, masks, near)
    loader = make_loader(looks, _BATCH, workers=choose_workers(workers), collate=list)
    seen = [look for batch in track(loader, "checking images") for look in batch]
    kept = np.array([not look.problem for look in seen], bool)
    _refuse([look.problem for look in seen if look.problem], len(seen), masks, max_failed)
    usable = manifest[kept].reset_index(drop=True)
    good = [look for look in seen if not look.problem]
    ids = usable["image_id"].astype(str)
    digests = dict(zip(ids, (look.sha256 for look in good), strict=True))
    copies = [look.grey for look in good if look.grey is not None]
    return Inspected(
        usable, kept, digests, duplicate_pairs(digests, np.stack(copies) if near else None)
    )


def _refuse(problems: list[str], count: int, masks: bool, max_failed: int) -> None:
    if len(problems) > max_failed or len(problems) == count:
        lines = "".join(f"\n  - {problem}" for problem in problems[:_SHOWN])
        more = f"\n  - and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise LesionError(
            f"{len(problems)} of {count} images cannot be used:{lines}{more}",
            wanted="images that open" + (", each with a mask of its own size" if masks else ""),
            mend=f"mend the files, or --max-failed {len(problems)} to leave these images out",
        )
    for problem in problems:
        log.warning("left out: %s", problem)
    if problems:
        log.warning("%d of %d images are left out", len(problems), count)


class _Look(NamedTuple):
    """What one look gave: hash of the bytes, why the image cannot be used ("" if it can), and a
    small grey copy where near copies are looked for."""

    sha256: str
    problem: str
    grey: NDArray[np.float32] | None


class _Looks(Dataset[_Look]):
    def __init__(self, manifest: pd.DataFrame, masks: bool, near: bool) -> None:
        # Plain arrays: a forked worker would copy the pages of a table by counting references.
        self.images = np.asarray(manifest["image"], dtype=np.str_)
        self.masks = np.asarray(manifest["mask"].fillna(""), dtype=np.str_) if masks else None
        self.near = near

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> _Look:
        digest, name, grey = "", str(self.images[row]), None
        try:
            data = read_image_bytes(name)
            digest = sha256_bytes(data)
            if self.masks is None and not self.near:
                problem = defect(data)
                return _Look(digest, f"{name}: {problem}" if problem else "", None)
            image = decode_image(data, name)
            if self.masks is not None and self.masks[row]:
                read_mask(str(self.masks[row]), (image.shape[0], image.shape[1]))
            if self.near:
                grey = grey_copy(image)
        except LesionError as error:
            return _Look(digest, error.found, None)
        return _Look(digest, "", grey)
