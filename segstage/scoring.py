"""Masks against the truth, image by image, at the original size."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesioncore.cache import MaskEntry
from lesioncore.devices import choose_workers, core_count
from lesioncore.errors import LesionError
from lesioncore.images import read_mask
from lesioncore.loading import make_loader
from lesioncore.metrics import MASK_METRICS, mask_scores
from lesioncore.progress import track
from segstage.dataset import ImageBatchItem, ImageStream
from segstage.predictor import LesionSegmenter
from segstage.quality import NO_SIZE, ExpectedSize, tile_size
from weights.provenance import Assignment

if TYPE_CHECKING:
    import pandas as pd

_THREADS = 8


def stream_masks(
    segmenter: LesionSegmenter,
    manifest: pd.DataFrame,
    *,
    batch_size: int,
    workers: int,
    description: str,
    out_of_fold: bool = True,
    finished: Any = None,
) -> Iterator[tuple[int, MaskEntry | None]]:
    """Yield (row, entry) for every image of a manifest, in order.

    Parameters
    ----------
    segmenter : LesionSegmenter
    manifest : DataFrame
        With `image_id`, `image`, `patient_id` and `lesion_id`.
    out_of_fold : bool
        Ask for each image the member that did not see it; else always the mean of all.
    finished : sequence of str, optional
        Hash under which each image is done already; those with the same bytes give None.

    Yields
    ------
    row : int
    entry : MaskEntry or None
        Status `failed` with the reason where the image could not be read; None where it is done.
    """
    stream = ImageStream(manifest["image"], segmenter.size, finished, segmenter.sizes[:-1])
    loader = make_loader(stream, batch_size, workers=choose_workers(workers), collate=list)
    facts = list(
        zip(
            manifest["image_id"].astype(str),
            manifest["patient_id"],
            manifest["lesion_id"],
            expected_sizes(manifest),
            strict=True,
        )
    )
    # After the network the cores are idle: OpenCV and NumPy let threads share a batch's masks.
    with ThreadPoolExecutor(min(core_count(), _THREADS)) as pool:
        for batch in track(loader, description):
            yield from _segment_batch(segmenter, batch, facts, out_of_fold, pool)


def expected_sizes(manifest: pd.DataFrame) -> list[ExpectedSize]:
    """Return for each image the size that 3D total body photography measured, where it did."""
    names = ("tbp_lv_areaMM2", "tbp_lv_minorAxisMM")
    if "modality" not in manifest or not any(name in manifest for name in names):
        return [NO_SIZE] * len(manifest)
    nothing = [None] * len(manifest)
    columns = [manifest[name].tolist() if name in manifest else nothing for name in names]
    return [
        tile_size(area, axis) if modality == "tile" else NO_SIZE
        for modality, area, axis in zip(manifest["modality"], *columns, strict=True)
    ]


def _segment_batch(
    segmenter: LesionSegmenter,
    batch: list[ImageBatchItem],
    facts: list[Any],
    out_of_fold: bool,
    pool: ThreadPoolExecutor,
) -> Iterator[tuple[int, MaskEntry | None]]:
    everyone = Assignment(
        tuple(range(len(segmenter.members))), "mean" if len(segmenter.members) > 1 else "0", False
    )
    chosen: dict[int, Assignment] = {}
    for item in batch:
        image_id, patient, lesion, _ = facts[item.row]
        chosen[item.row] = (
            segmenter.provenance.assign(image_id, item.sha256, patient, lesion)
            if out_of_fold
            else everyone
        )
    maps: dict[int, tuple[NDArray[np.uint8], float | None]] = {}
    for members in sorted({assignment.members for assignment in chosen.values()}):
        group = [i for i in batch if chosen[i.row].members == members and i.pixels is not None]
        if group:
            pixels = {
                segmenter.size: np.stack([i.pixels for i in group if i.pixels is not None]),
                **{
                    size: np.stack([i.others[size] for i in group]) for size in segmenter.sizes[:-1]
                },
            }
            found = zip(*segmenter.maps(pixels, members), strict=True)
            maps |= {item.row: one for item, one in zip(group, found, strict=True)}

    def finished(item: ImageBatchItem) -> tuple[int, MaskEntry | None]:
        image_id, who = facts[item.row][0], chosen[item.row]
        entry = None
        if item.row in maps:
            entry = segmenter.entry(
                maps[item.row][0],
                disagreement=maps[item.row][1],
                image_id=image_id,
                image_sha256=item.sha256,
                shape=item.shape,
                member=who.label,
                in_sample=who.in_sample,
                expected=facts[item.row][3],
            )
        elif item.problem:
            entry = MaskEntry.failed(
                image_id=image_id,
                image_sha256=item.sha256,
                reason=item.problem,
                member=who.label,
                in_sample=who.in_sample,
            )
        return item.row, entry

    yield from pool.map(finished, batch)


def score_images(
    segmenter: LesionSegmenter,
    manifest: pd.DataFrame,
    *,
    groups: pd.Series[Any],
    workers: int,
    description: str,
    batch_size: int = 32,
    out_of_fold: bool = False,
    keep: Any = None,
    traits: bool = False,
) -> pd.DataFrame:
    """Return one row an image: status, member, confidence and overlap with the truth.

    Parameters
    ----------
    manifest : DataFrame
        Every row names a mask.
    groups : Series
        Index image_id; kept for the bootstrap.
    keep : callable, optional
        Called with every entry (to write it somewhere).
    traits : bool
        Add the traits of each mask (`segstage.mask_traits`) as columns `trait_NAME`.

    Returns
    -------
    DataFrame
        `image_id`, `group`, `status`, `reason`, `member`, `in_sample`, `score`, `quality`, `area`,
        then `dice`, `jaccard`, `thresholded_jaccard`; NaN where the image failed.
    """
    import pandas as pd

    rows = []
    segmenter.traits = {} if traits else None
    for row, entry in stream_masks(
        segmenter,
        manifest,
        batch_size=batch_size,
        workers=workers,
        description=description,
        out_of_fold=out_of_fold,
    ):
        assert entry is not None
        if keep is not None and entry.status != "failed":
            keep(entry)
        found = (segmenter.traits or {}).pop(entry.image_id, {})
        named = {f"trait_{name}": value for name, value in found.items()}
        rows.append(score_entry(entry, str(manifest["mask"].iloc[row]), groups) | named)
    segmenter.traits = None
    return pd.DataFrame(rows)


def score_entry(entry: MaskEntry, truth: str, groups: pd.Series[Any]) -> dict[str, Any]:
    """Return the row of one mask, see `score_images`."""
    found: dict[str, Any] = {
        "image_id": entry.image_id,
        "group": groups.get(entry.image_id, entry.image_id),
        "status": entry.status,
        "reason": entry.reason,
        "member": entry.member,
        "in_sample": entry.in_sample,
        "score": entry.score,
        "quality": entry.quality,
        "area": entry.area,
    }
    scores = dict.fromkeys(MASK_METRICS, float("nan"))
    if entry.status != "failed":
        try:
            scores = mask_scores(entry.mask(), read_mask(truth, entry.shape))
        except LesionError as error:
            found |= {"status": "failed", "reason": error.found}
    return found | scores
