"""`lesion cache measure`: shape and colour of every mask of a cache, as a table beside it."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from lesioncore.commands import log_counts
from lesioncore.errors import LesionError
from lesioncore.files import sha256_bytes
from lesioncore.measurements import MEASUREMENTS, MEASUREMENTS_VERSION, measure, tile_mm_per_pixel
from lesioncore.progress import log, track

if TYPE_CHECKING:
    import pandas as pd

    from lesioncore.cache import MaskCache
    from pipelines.cache_config import CacheMeasureConfig

LOCK = "measurements.lock"
#: What is measured is written out this often, so that a kill loses little.
_SECONDS = 120.0
_BATCH = 16


class Measured(NamedTuple):
    """One image measured, or why it was not."""

    row: dict[str, Any]
    problem: str


class MaskMeasurer:
    """Items are `Measured`, by the row of a table with `KEY`, `status`, `image`, `modality`."""

    def __init__(self, rows: pd.DataFrame, cache: MaskCache) -> None:
        # Plain lists: a forked worker would copy the pages of a table by counting references.
        self.rows = rows.to_dict("records")
        self.cache = cache

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Measured:
        from lesioncore.cache.measured import KEY
        from lesioncore.images import decode_image, read_image_bytes

        row = self.rows[number]
        found: dict[str, Any] = {name: row[name] for name in KEY}
        found |= {"measurements_version": MEASUREMENTS_VERSION, "status": row["status"]}
        found |= {"mm_per_pixel": None, **dict.fromkeys(MEASUREMENTS)}
        if row["status"] in ("failed", "empty"):
            return Measured(found, "")
        try:
            data = read_image_bytes(row["image"])
            if row["image_sha256"] and sha256_bytes(data) != row["image_sha256"]:
                return Measured({}, "the picture has changed since its mask was made")
            image = decode_image(data, str(row["image"]))
            scale = tile_mm_per_pixel(row["modality"], image.shape[1])
            figures = measure(image, self.cache.read(row["image_id"]).mask(), scale)
        except LesionError as error:
            return Measured({}, error.found)
        return Measured(found | {"mm_per_pixel": scale} | figures, "")


def measure_masks(config: CacheMeasureConfig) -> int:
    """Measure every mask that is not measured yet; return 1 when too many could not be.

    Raises
    ------
    LesionError
        No cache, none of its images in the archive, or another process is measuring it.
    """
    from lesioncore.cache import MaskCache
    from lesioncore.cache.lock import FolderLock
    from lesioncore.cache.measured import FILE, KEY, current, keys_of, stored_measurements
    from lesioncore.readers import load_manifest

    cache = MaskCache(config.masks)
    manifest = load_manifest(config)
    facts = manifest[["image_id", "image", "modality"]].astype({"image_id": str})
    rows = keys_of(cache).merge(facts, on="image_id", how="inner")
    if rows.empty:
        raise LesionError(
            f"none of the {len(cache)} masks of {config.masks} is of an image of {config.dataset}",
            wanted="the archive that the cache was made of",
        )
    lock = FolderLock(config.masks / LOCK)
    try:
        there = current(stored_measurements(config.masks), cache)
        done = rows[list(KEY)].merge(there[list(KEY)].assign(_there=1), how="left")
        todo = rows[done["_there"].isna().to_numpy()].reset_index(drop=True)
        if len(todo) < len(rows):
            log.info("%d of %d masks are measured already", len(rows) - len(todo), len(rows))
        problems = _measure(todo, cache, there, config)
    finally:
        lock.release()
    counts = Counter(todo["status"].tolist()) - Counter(problems)
    log_counts(counts, "masks measured now")
    failed = sum(problems.values())
    log.info("written to %s", config.masks / FILE)
    if failed > config.max_failed:
        log.log(logging.ERROR, "%d masks could not be measured (the lines above say why)", failed)
        return 1
    return 0


def _measure(
    todo: pd.DataFrame, cache: MaskCache, there: pd.DataFrame, config: CacheMeasureConfig
) -> Counter[str]:
    """Measure and write; return how many of each status could not be measured."""
    from lesioncore.cache.measured import as_table, write_measurements
    from lesioncore.devices import choose_workers
    from lesioncore.loading import make_loader

    workers = choose_workers(config.workers) if len(todo) > 4 * _BATCH else 0
    measurer: Any = MaskMeasurer(todo, cache)
    loader = make_loader(measurer, _BATCH, workers=workers, collate=list)
    statuses = iter(todo["status"].tolist())
    names = iter(todo["image_id"].tolist())
    problems: Counter[str] = Counter()
    fresh: list[dict[str, Any]] = []
    written = time.monotonic()
    try:
        for batch in track(loader, "measuring"):
            for one in batch:
                status, name = next(statuses), next(names)
                if one.problem:
                    problems[status] += 1
                    log.warning("%s: %s", name, one.problem)
                else:
                    fresh.append(one.row)
            if time.monotonic() - written > _SECONDS:
                there = write_measurements(cache, there, as_table(fresh))
                fresh, written = [], time.monotonic()
    finally:
        write_measurements(cache, there, as_table(fresh))
    return problems
