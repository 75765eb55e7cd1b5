"""`segstage evaluate`: masks against an archive's truth, with intervals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesioncore.cache import MaskCache, MaskEntry
from lesioncore.errors import LesionError, UsageError
from lesioncore.files import write_json, write_table
from lesioncore.images import read_image, read_mask
from lesioncore.metrics import score_lines, score_masks
from lesioncore.progress import log, track
from lesioncore.readers import load_manifest
from lesioncore.splits import assign_groups
from lesioncore.subsets import choose_subset
from segstage.caching import first_of, load_segmenter
from segstage.config import EvaluateConfig
from segstage.dataset import with_masks
from segstage.importing import find_masks
from segstage.scoring import score_entry, score_images

if TYPE_CHECKING:
    import pandas as pd


def evaluate(config: EvaluateConfig) -> int:
    """Write ``scores.json`` and ``images.csv``, print the scores; return 1 when too many failed.

    `scores.json` has `n`, `subset`, `failed`, `in_sample`, and `dice`, `jaccard` and
    `thresholded_jaccard`, each with `value`, `low` and `high`: the mean over images and its 95 %
    interval, drawn by group. `images.csv` has a row an image, the worst first.

    Raises
    ------
    LesionError
        The subset is empty, or holds images without a mask.
    """
    if config.weights is not None and config.predictions is not None:
        raise UsageError("both --weights and --predictions were given", wanted="one of them")
    segmenter = load_segmenter(config) if config.predictions is None else None
    manifest = load_manifest(config)
    groups = assign_groups(manifest)
    rows = choose_subset(
        manifest,
        config.subset,
        dataset=config.dataset,
        test_list=config.test_list,
        weights=first_of(config.weights),
    )
    chosen = with_masks(rows, config.max_failed)
    if segmenter is not None:
        rows = score_images(
            segmenter,
            chosen,
            groups=groups,
            workers=config.workers,
            description="scoring",
            batch_size=config.batch_size,
            out_of_fold=True,
        )
    else:
        assert config.predictions is not None
        rows = _score_given(chosen, groups, given_masks(config.predictions))
    return _report(rows, config)


def given_masks(source: Path) -> Callable[[str, str], MaskEntry]:
    """Return a function from (image_id, image) to the mask in a cache or a folder of PNGs."""
    if (source / "index.json").is_file():
        masks = MaskCache(source)

        def from_cache(image_id: str, _image: str) -> MaskEntry:
            if image_id not in masks:
                raise LesionError(f"no mask of {image_id} in {source}")
            return masks.read(image_id)

        return from_cache
    files = find_masks(source)

    def from_folder(image_id: str, image: str) -> MaskEntry:
        if image_id not in files:
            raise LesionError(f"no mask of {image_id} in {source}")
        mask = read_mask(files[image_id], read_image(image).shape[:2])
        return MaskEntry.from_mask(
            image_id=image_id, image_sha256="", mask=mask, member="import", in_sample=False
        )

    return from_folder


def _score_given(
    manifest: pd.DataFrame, groups: pd.Series[Any], masks: Callable[[str, str], MaskEntry]
) -> pd.DataFrame:
    import pandas as pd

    rows = []
    columns = zip(
        manifest["image_id"].astype(str), manifest["image"], manifest["mask"], strict=True
    )
    for image_id, image, truth in track(columns, "scoring", len(manifest)):
        try:
            entry = masks(image_id, str(image))
        except LesionError as error:
            entry = MaskEntry.failed(image_id=image_id, image_sha256="", reason=error.found)
        rows.append(score_entry(entry, str(truth), groups))
    return pd.DataFrame(rows)


def _report(rows: pd.DataFrame, config: EvaluateConfig) -> int:
    """Write and print the scores; return the exit code."""
    failed = rows["dice"].isna()
    good = rows[~failed]
    for row in rows[failed].itertuples():
        log.warning("%s: %s", row.image_id, row.reason)
    if good.empty:
        raise LesionError("no image could be scored", wanted="at least one mask with its truth")
    in_sample = int(good["in_sample"].sum())
    if in_sample:
        log.warning("%d of %d images were learned from: their scores flatter", in_sample, len(good))
    record = {
        "n": len(good),
        "groups": int(good["group"].nunique()),
        "dataset": config.dataset,
        "subset": config.subset,
        "failed": int(failed.sum()),
        "in_sample": in_sample,
        **score_masks(good, good["group"], resamples=config.resamples, seed=config.seed),
    }
    write_json(config.out / "scores.json", record)
    write_table(config.out / "images.csv", rows.sort_values("dice", kind="stable"))
    for line in score_lines(record):
        log.info("%s", line)
    print(json.dumps(record))
    if int(failed.sum()) > config.max_failed:
        log.error("%d images could not be scored", int(failed.sum()))
        return 1
    return 0
