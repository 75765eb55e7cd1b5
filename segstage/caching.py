"""`segstage cache`: an archive's masks, each by a member that did not learn from the image."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesioncore.cache import MaskCacheWriter
from lesioncore.commands import log_counts
from lesioncore.progress import log
from lesioncore.readers import load_manifest
from segstage.config import CacheConfig
from segstage.predictor import LesionSegmenter
from segstage.scoring import stream_masks

if TYPE_CHECKING:
    import pandas as pd


def cache(config: CacheConfig) -> int:
    """Segment every image that the cache lacks; return 1 when too many failed.

    Parameters
    ----------
    config : CacheConfig
        The same call again goes on where a killed one stopped; images whose bytes changed are done
        again.

    Raises
    ------
    LesionError
        No weights, no images, or a cache that another segmenter made (the fields are named).
    """
    segmenter = load_segmenter(config)
    manifest = load_manifest(config)
    if not segmenter.provenance.known:
        log.warning(
            "these weights have no record of what they learned from: in_sample is unknown and "
            "written as false"
        )
    judge = None if segmenter.quality is None else segmenter.quality.identity
    with MaskCacheWriter(
        config.out, segmenter.fingerprint, config.encoding, quality_model=judge
    ) as writer:
        before = writer.finished
        finished = [before.get(image_id, "") for image_id in manifest["image_id"].astype(str)]
        there = sum(bool(digest) for digest in finished)
        if there:
            log.info("%d of %d masks are there already", there, len(manifest))
            if judge is not None and writer.quality_models != [judge]:
                log.info("their quality is that of another model, or null, and stays so")
        added = _fill(writer, segmenter, manifest, finished, config)
        writer.complete()
        counts = _counts(config.out, manifest)
    log_counts(counts, "masks")
    log.info("%d made now, in %s", added, config.out)
    failed = counts.get("failed", 0)
    if failed > config.max_failed:
        log.log(
            logging.ERROR,
            "%d images could not be segmented, more than --max-failed %d; their reasons are in the "
            "cache (lesion cache info %s)",
            failed,
            config.max_failed,
            config.out,
        )
        return 1
    return 0


def load_segmenter(config: Any) -> LesionSegmenter:
    """Return the segmenter that `weights`, the post-processing and the device of a config name."""
    return LesionSegmenter.load(
        config.weights,
        config.device,
        config.precision,
        tta=config.tta,
        threshold=config.threshold,
        largest_component=config.largest_component,
        fill_holes=config.fill_holes,
        min_area=config.min_area,
    )


def first_of(weights: Sequence[Path] | Path | None) -> Path | None:
    """Return the first of the runs that `--weights` names: the one that says what was held back."""
    if weights is None or isinstance(weights, str | PathLike):
        return weights
    return next(iter(weights), None)


def _fill(
    writer: MaskCacheWriter,
    segmenter: LesionSegmenter,
    manifest: pd.DataFrame,
    finished: list[str],
    config: CacheConfig,
) -> int:
    added = 0
    for _, entry in stream_masks(
        segmenter,
        manifest,
        batch_size=config.batch_size,
        workers=config.workers,
        description="segmenting",
        finished=finished,
    ):
        if entry is not None:
            writer.add(entry)
            added += 1
            if entry.status == "failed":
                log.warning("%s: %s", entry.image_id, entry.reason)
    return added


def _counts(folder: Path, manifest: pd.DataFrame) -> dict[str, int]:
    """Return how many of the manifest's masks have each status, edits included."""
    from lesioncore.cache import MaskCache

    table = MaskCache(folder).table()
    ours = table[table["image_id"].isin(set(manifest["image_id"].astype(str)))]
    return {str(status): int(n) for status, n in ours["status"].value_counts().items()}
