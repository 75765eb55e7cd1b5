"""`segstage import-masks`: masks that people drew, into a cache of their own or as edits of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lesioncore.cache import MaskCache, MaskCacheWriter, MaskEntry, fingerprint_differences
from lesioncore.cache.edits import Edit, add_edits
from lesioncore.cache.index import INDEX, read_index
from lesioncore.commands import log_counts
from lesioncore.errors import LesionError
from lesioncore.files import sha256_bytes
from lesioncore.images import decode_image, read_image_bytes, read_mask
from lesioncore.progress import log, track
from lesioncore.readers import load_manifest
from lesioncore.readers.layout import mask_stem
from segstage.config import ImportMasksConfig

if TYPE_CHECKING:
    import pandas as pd

IMPORT_VERSION = 1
#: Edits are written so many at a time.
_BATCH = 256


def import_masks(config: ImportMasksConfig) -> int:
    """Put masks into a cache; return 1 when too many could not be imported.

    A cache that a segmenter made gets them as edits, which win over its own masks; masks equal to
    what is there are left alone. A new cache, or one of imported masks, gets them as its rows.

    Raises
    ------
    LesionError
        No masks in the folder, or none of an image of the archive.
    """
    manifest = load_manifest(config)
    files = _sources(manifest, config)
    member = "truth" if config.masks is None else "import"
    fingerprint = import_fingerprint(member)
    counts: Counter[str] = Counter()
    if _is_other_cache(config.out, fingerprint):
        _add_edits(manifest, files, config, counts)
    else:
        _add_rows(manifest, files, config, member, fingerprint, counts)
    log_counts(counts, "masks")
    if counts["failed"] > config.max_failed:
        log.error("%d masks could not be imported", counts["failed"])
        return 1
    return 0


def import_fingerprint(member: str) -> dict[str, Any]:
    """Return the fingerprint of a cache of imported masks; `member` is "truth" or "import"."""
    return {
        "segmenter": {"arch": {"name": member}, "weights_sha256": []},
        "preprocessing": {},
        "postprocessing": {},
        "algorithm_versions": {"import": IMPORT_VERSION},
    }


def find_masks(folder: Path) -> dict[str, Path]:
    """Return image id to mask file, for every PNG (or BMP) of a folder.

    `ISIC_1_segmentation.png`, `ISIC_1_mask.png` and `ISIC_1.png` belong to `ISIC_1`.

    Raises
    ------
    LesionError
        No folder, no masks in it, or two masks of one image.
    """
    if not folder.is_dir():
        raise LesionError(f"no such folder: {folder}", wanted="a folder of PNG masks")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in (".png", ".bmp", ".tif", ".tiff"):
            continue
        image_id = mask_stem(path.stem)
        if image_id in found:
            raise LesionError(
                f"two masks of {image_id}: {found[image_id].name} and {path.name}",
                wanted="one mask an image",
            )
        found[image_id] = path
    if not found:
        raise LesionError(
            f"no masks in {folder}", wanted="<image_id>_segmentation.png or <image_id>.png"
        )
    return found


def _sources(manifest: pd.DataFrame, config: ImportMasksConfig) -> dict[str, str]:
    """Return image id to mask file, for images of the manifest that have one."""
    ids = manifest["image_id"].astype(str)
    if config.masks is None:
        have = manifest["mask"].notna()
        files = dict(zip(ids[have], manifest.loc[have, "mask"].astype(str), strict=True))
        if not files:
            raise LesionError(
                f"{config.dataset} holds no masks", wanted="--masks with a folder of PNGs"
            )
    else:
        given = find_masks(config.masks)
        known = set(ids)
        files = {i: str(path) for i, path in given.items() if i in known}
        strange = len(given) - len(files)
        if not files:
            raise LesionError(
                f"none of the {len(given)} masks in {config.masks} is of an image of "
                f"{config.dataset} (first: {min(given)})",
                wanted="masks named after the image ids",
            )
        if strange:
            log.warning("%d masks are of images that %s lacks", strange, config.dataset)
    without = len(ids) - len(files)
    if without:
        log.info("%d images have no mask to import", without)
    return files


def _is_other_cache(folder: Path, fingerprint: dict[str, Any]) -> bool:
    """Whether `folder` holds a cache that something else than this import made."""
    if not (folder / INDEX).is_file():
        return False
    return bool(fingerprint_differences(read_index(folder)["fingerprint"], fingerprint))


def _read(manifest: pd.DataFrame, files: dict[str, str]) -> Iterator[tuple[str, str, Any]]:
    """Yield (image_id, image_sha256, mask or LesionError)."""
    rows = zip(manifest["image_id"].astype(str), manifest["image"], strict=True)
    for image_id, image in track(rows, "importing", len(manifest)):
        if image_id not in files:
            continue
        digest = ""
        try:
            data = read_image_bytes(image)
            digest = sha256_bytes(data)
            shape = decode_image(data, str(image)).shape[:2]
            yield image_id, digest, read_mask(files[image_id], (shape[0], shape[1]))
        except LesionError as error:
            log.warning("%s: %s", image_id, error.found)
            yield image_id, digest, error


def _add_rows(
    manifest: pd.DataFrame,
    files: dict[str, str],
    config: ImportMasksConfig,
    member: str,
    fingerprint: dict[str, Any],
    counts: Counter[str],
) -> None:
    """Write masks as rows; those that are there already with the same pixels are left alone."""
    there = MaskCache(config.out) if (config.out / INDEX).is_file() else None
    with MaskCacheWriter(config.out, fingerprint, "bin1") as writer:
        for image_id, digest, mask in _read(manifest, files):
            if isinstance(mask, LesionError):
                entry = MaskEntry.failed(
                    image_id=image_id, image_sha256=digest, reason=mask.found, member=member
                )
            elif _same(there, image_id, mask, digest):
                counts["unchanged"] += 1
                continue
            else:
                entry = MaskEntry.from_mask(
                    image_id=image_id,
                    image_sha256=digest,
                    mask=mask,
                    member=member,
                    in_sample=False,
                )
            writer.add(entry)
            counts[entry.status] += 1
        writer.complete()


def _add_edits(
    manifest: pd.DataFrame,
    files: dict[str, str],
    config: ImportMasksConfig,
    counts: Counter[str],
) -> None:
    """Write masks as edits; those equal to what the cache says already are left alone."""
    there = MaskCache(config.out)
    waiting: list[Edit] = []
    for image_id, digest, mask in _read(manifest, files):
        if isinstance(mask, LesionError):
            counts["failed"] += 1
        elif _same(there, image_id, mask, digest):
            counts["unchanged"] += 1
        else:
            waiting.append(
                Edit(
                    image_id=image_id,
                    mask=mask,
                    author=config.author,
                    note=config.note,
                    image_sha256=digest,
                )
            )
            counts["edited"] += 1
            if len(waiting) >= _BATCH:
                add_edits(config.out, waiting)
                waiting = []
    if waiting:
        add_edits(config.out, waiting)


def _same(there: MaskCache | None, image_id: str, mask: Any, digest: str) -> bool:
    if there is None or image_id not in there:
        return False
    entry = there.read(image_id)
    return (
        entry.status != "failed"
        and entry.image_sha256 in ("", digest)
        and entry.shape == mask.shape
        and bool(np.array_equal(entry.mask(), mask))
    )
