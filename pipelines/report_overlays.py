"""The pictures of the report: the worst masks, typical ones, and missed malignant lesions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.html_tiles import tile_values
from pipelines.overlay import draw_tile, ranked_masks, seems

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.report_data import ReportData

_SIZE = 220


def overlay_groups(data: ReportData, tiles: int) -> list[dict[str, Any]]:
    """Return the groups of pictures, each with a name, a note and its tiles as JPEG in base64."""
    if data.cache is None or tiles < 1:
        return []
    pool = data.images[data.images["subset"] == data.subset]
    groups = []
    for name, note, rows in _choices(pool, tiles):
        drawn = [tile for _, row in rows.iterrows() if (tile := _tile(data, row)) is not None]
        if drawn:
            groups.append({"name": name, "note": note, "tiles": drawn})
    return groups


def _choices(pool: pd.DataFrame, tiles: int) -> list[tuple[str, str, pd.DataFrame]]:
    half = max(1, tiles // 2)
    scored = pool["dice"].notna().any() if "dice" in pool else False
    if "mask_score" not in pool:
        return []
    ranked = ranked_masks(pool, "worst")
    said = "lowest Dice" if scored else f"lowest {seems(pool)}"
    chosen = [(f"The worst masks, {said} first", f"{min(tiles, len(ranked))} of {len(ranked):,}.",
               ranked.head(tiles))]  # fmt: skip
    rest = ranked.iloc[tiles:]
    if len(rest):
        spread = rest.iloc[np.unique(np.linspace(0, len(rest) - 1, half).round().astype(int))]
        note = "Evenly spaced over the ranking of the rest, from bad to good."
        chosen.append(("What the rest looks like", note, spread))
    if "malignant" in pool and (pool["label"] == 1).any():
        missed = pool[(pool["label"] == 1) & pool["malignant"].notna()]
        missed = missed.sort_values(["malignant", "image_id"]).head(half)
        note = "What a person who trusts the probability would overlook."
        chosen.append(("Malignant lesions with the lowest probability", note, missed))
    return chosen


def _tile(data: ReportData, row: pd.Series) -> dict[str, Any] | None:
    assert data.cache is not None
    tile = draw_tile(row, data.cache, _SIZE * 2)
    if tile is None:
        return None
    return tile_values(tile, synthetic=data.synthetic)
