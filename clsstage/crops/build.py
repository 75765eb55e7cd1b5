"""Making crops: each image is read once, and never again while nothing changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Dataset

from clsstage.crops.cache import CropCache
from clsstage.crops.codec import ENCODINGS, encode_image, encode_mask
from clsstage.crops.crop import CropRow, make_crop
from clsstage.crops.geometry import CropGeometry
from clsstage.crops.index import INDEX, check_fingerprint, read_index
from clsstage.crops.shards import Item
from clsstage.crops.source import read_source
from clsstage.crops.writer import CropWriter
from clsstage.masks import MaskChoices, rows_of, snapshot
from lesioncore.devices import choose_workers
from lesioncore.errors import LesionError, unknown_name
from lesioncore.files import sha256_json
from lesioncore.geometry import EMPTY_BOX
from lesioncore.images import image_sha256
from lesioncore.loading import make_loader
from lesioncore.progress import log, track

if TYPE_CHECKING:
    from lesioncore.cache import MaskCache

_BATCH = 16
_SHOWN = 5


def build_crops(
    folder: Path,
    image_ids: Sequence[str],
    images: Sequence[str],
    geometry: CropGeometry,
    cache: MaskCache | None = None,
    choices: MaskChoices | None = None,
    *,
    encoding: str = "jpeg",
    workers: int = -1,
) -> CropCache:
    """Return the crops of these images, made where they are not there yet.

    Crops that are there and complete are opened without reading an image whose mask says what its
    bytes were; other images are hashed, to see that they have not changed. A build that was killed
    goes on behind its last whole shard. An image that cannot be read stays in the cache as failed,
    with the reason.

    Parameters
    ----------
    folder : Path
    image_ids, images : sequences of n str
        Ids, and paths or `store.hdf5::key`.
    geometry : CropGeometry
        What the crops have to serve.
    cache : MaskCache, optional
    choices : MaskChoices, optional
        Which of its masks are used; the others' images are kept whole.
    encoding : {"jpeg", "webp"}
        JPEG of quality 95 without colour subsampling, or WebP without loss. Masks are PNG.
    workers : int
        Loader processes; -1 chooses.

    Raises
    ------
    LesionError
        The folder holds crops made from or for something else; each field that differs is named.
    """
    if encoding not in ENCODINGS:
        raise unknown_name("encoding of crops", encoding, ENCODINGS)
    ids = [str(image_id) for image_id in image_ids]
    used = _used(cache, choices, len(ids))
    digests = _digests(ids, images, cache, workers)
    fingerprint = {
        "images": {
            "count": len(ids),
            "sha256": sha256_json(sorted(zip(ids, digests, strict=True))),
        },
        "masks": _masks(cache, ids, used),
        "geometry": geometry.to_dict(),
        "encoding": encoding,
    }
    if _is_whole(folder, fingerprint):
        found = CropCache(folder)
        log.info("crops: %s in %s", _counted(found.counts), folder)
        return found
    with CropWriter(folder, fingerprint) as writer:
        rows = [row for row, image_id in enumerate(ids) if image_id not in writer.finished]
        if len(rows) < len(ids):
            log.info("%d of %d crops are made already", len(ids) - len(rows), len(ids))
        reasons = [""] * len(ids) if choices is None else choices.reason
        maker = _Maker(
            [(ids[row], images[row], digests[row], bool(used[row]), reasons[row]) for row in rows],
            geometry,
            cache,
            encoding,
        )
        processes = choose_workers(workers) if len(rows) > 4 * _BATCH else 0
        loader = make_loader(maker, _BATCH, workers=processes, collate=list)
        for batch in track(loader, "cutting crops", len(loader)):
            for item in batch:
                writer.add(item)
        writer.complete()
    made = CropCache(folder)
    log.info("crops: %s in %s", _counted(made.counts), folder)
    _tell_failed(made)
    return made


def _used(
    cache: MaskCache | None, choices: MaskChoices | None, count: int
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if cache is None or choices is None:
        return np.zeros(count, bool)
    return choices.used


def _digests(
    ids: Sequence[str], images: Sequence[str], cache: MaskCache | None, workers: int
) -> list[str]:
    """Return SHA-256 of each image's bytes: its mask's word for it, else hashed; "" if unread."""
    known = [""] * len(ids)
    if cache is not None:
        known = rows_of(cache, ids)["image_sha256"].fillna("").tolist()
    rows = [row for row, digest in enumerate(known) if not digest]
    hasher = _Hasher([images[row] for row in rows])
    processes = choose_workers(workers) if len(rows) > 16 * _BATCH else 0
    loader = make_loader(hasher, _BATCH, workers=processes, collate=list)
    hashed = [digest for batch in track(loader, "hashing images", len(loader)) for digest in batch]
    for row, digest in zip(rows, hashed, strict=True):
        known[row] = digest
    return known


def _masks(
    cache: MaskCache | None, ids: Sequence[str], used: np.ndarray[Any, np.dtype[np.bool_]]
) -> dict[str, Any] | None:
    if cache is None or not used.any():
        return None
    pinned = snapshot(cache, ids, cache.folder)
    # Where the masks lie decides nothing, and what judged them decides only which are used.
    kept = {name: pinned[name] for name in ("fingerprint", "count", "max_revision", "rows")}
    trusted = [image_id for image_id, one in zip(ids, used.tolist(), strict=True) if one]
    return kept | {"used": {"count": len(trusted), "sha256": sha256_json(sorted(trusted))}}


def _is_whole(folder: Path, fingerprint: dict[str, Any]) -> bool:
    """Return whether all crops are there; other crops are refused."""
    if not (folder / INDEX).is_file():
        return False
    index = read_index(folder)
    check_fingerprint(index["fingerprint"], fingerprint, folder)
    return bool(index["complete"]) and all(
        (folder / shard["name"]).is_file() for shard in index["shards"]
    )


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))


def _tell_failed(crops: CropCache) -> None:
    if not crops.counts.get("failed"):
        return
    table = crops.table()
    failed = table[table["status"] == "failed"]
    for image_id, reason in zip(failed["image_id"][:_SHOWN], failed["reason"], strict=False):
        log.warning("%s: %s", image_id, reason)
    log.warning("%d of %d images gave no crop", len(failed), len(table))


class _Hasher(Dataset[str]):
    def __init__(self, images: Sequence[str]) -> None:
        # A plain array: a forked worker would copy the pages of a list by counting references.
        self.images = np.asarray(images, np.str_)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> str:
        try:
            return image_sha256(str(self.images[row]))
        except LesionError:
            return ""  # the crop's own reading says why


class _Maker(Dataset[Item]):
    """Crops as bytes; work is (image_id, image, sha256, whether its mask is used, why not)."""

    def __init__(
        self,
        work: Sequence[tuple[str, str, str, bool, str]],
        geometry: CropGeometry,
        cache: MaskCache | None,
        encoding: str,
    ) -> None:
        self.work = list(work)
        self.geometry = geometry
        self.cache = cache
        self.encoding = encoding

    def __len__(self) -> int:
        return len(self.work)

    def __getitem__(self, row: int) -> Item:
        image_id, image, digest, used, reason = self.work[row]
        try:
            source = read_source(image_id, image, self.cache if used else None)
            _check(source.image.shape, source.mask, image_id)
            if source.sha256 != digest:
                raise LesionError(f"the image {image_id!r} is not the one its mask speaks of")
            crop = make_crop(
                source.image,
                source.mask,
                self.geometry,
                image_id=image_id,
                image_sha256=digest,
                reason="" if used else reason,
            )
        except LesionError as error:
            return _failed(image_id, digest, error.found), (b"", b"", b"")
        row_only = CropRow(**{name: getattr(crop, name) for name in CropRow.__dataclass_fields__})
        whole = b"" if crop.whole is None else encode_image(crop.whole, self.encoding)
        return row_only, (
            encode_image(crop.image, self.encoding),
            encode_mask(crop.mask, crop.mask_box),
            whole,
        )


def _check(shape: tuple[int, ...], mask: Any, image_id: str) -> None:
    if mask is not None and tuple(mask.shape) != shape[:2]:
        raise LesionError(
            f"the mask of {image_id!r} is of a {mask.shape[0]} x {mask.shape[1]} image, "
            f"the image is {shape[0]} x {shape[1]}"
        )


def _failed(image_id: str, digest: str, reason: str) -> CropRow:
    return CropRow(
        image_id=image_id,
        image_sha256=digest,
        source_shape=(0, 0),
        region=EMPTY_BOX,
        shape=(0, 0),
        status="failed",
        reason=reason,
    )
