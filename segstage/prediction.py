"""`segstage predict`: photographs in, PNG masks of their own size out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lesioncore.cache import MaskEntry
from lesioncore.commands import log_counts
from lesioncore.files import write_table
from lesioncore.images import write_mask
from lesioncore.photos import MASK_SUFFIX, find_photos, photo_names
from lesioncore.progress import log
from segstage.caching import load_segmenter
from segstage.config import PredictConfig
from segstage.scoring import stream_masks

if TYPE_CHECKING:
    import pandas as pd

TABLE = "masks.csv"


def predict(config: PredictConfig) -> int:
    """Write ``<image_id>_segmentation.png`` for every photograph; return 1 when too many failed.

    ``masks.csv`` beside them has a row a photograph: `image_id`, `image`, `status`, `reason`,
    `score`, `quality`, `area`, `y0`, `x0`, `y1`, `x1` (box, half-open, pixels), `height`, `width`.

    Raises
    ------
    LesionError
        A path that is not there, or no photograph at all.
    """
    segmenter = load_segmenter(config)
    photos = find_photos(config.photos)[: config.limit]
    manifest = _manifest(photos)
    rows, counts = [], Counter[str]()
    for row, entry in stream_masks(
        segmenter,
        manifest,
        batch_size=config.batch_size,
        workers=0 if len(photos) <= config.batch_size else config.workers,
        description="segmenting",
        out_of_fold=False,
    ):
        assert entry is not None
        counts[entry.status] += 1
        if entry.status == "failed":
            log.warning("%s", entry.reason)
        else:
            write_mask(config.out / f"{entry.image_id}{MASK_SUFFIX}.png", entry.mask())
        rows.append(_row(entry, photos[row]))
    import pandas as pd

    write_table(config.out / TABLE, pd.DataFrame(rows))
    log_counts(counts, "masks")
    log.info("written to %s", config.out)
    if counts["failed"] > config.max_failed:
        log.error("%d photographs could not be segmented", counts["failed"])
        return 1
    return 0


def _manifest(photos: Sequence[Path]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "image_id": list(photo_names(photos).values()),
            "image": [str(path) for path in photos],
            "patient_id": None,
            "lesion_id": None,
        }
    )


def _row(entry: MaskEntry, photo: Path) -> dict[str, object]:
    y0, x0, y1, x1 = entry.box
    height, width = entry.shape
    return {
        "image_id": entry.image_id,
        "image": str(photo),
        "status": entry.status,
        "reason": entry.reason,
        "score": round(entry.score, 6),
        "quality": None if entry.quality is None else round(entry.quality, 6),
        "area": entry.area,
        **{"y0": y0, "x0": x0, "y1": y1, "x1": x1, "height": height, "width": width},
    }
