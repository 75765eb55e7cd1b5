"""`lesion overlay`: contact sheets of cached masks, worst first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lesioncore.errors import LesionError, UsageError, unknown_name
from lesioncore.files import atomic_path, read_table
from lesioncore.progress import log, track
from pipelines.contact_sheet import Tile, contact_sheet
from pipelines.contours import fit, outlined
from pipelines.html_tiles import write_html_sheet

if TYPE_CHECKING:
    import pandas as pd

    from lesioncore.cache import MaskCache
    from pipelines.config import OverlayConfig
    from pipelines.run_steps import RunPaths

STATUSES = ("ok", "empty", "failed", "edited")


def overlay(config: OverlayConfig) -> None:
    """Write a contact sheet of an archive's cached masks (`lesion overlay`).

    Raises
    ------
    LesionError
        No cache, none of its masks chosen, or images of another size than their masks.
    UsageError
        An unknown status or image id.
    """
    from lesioncore.cache import MaskCache
    from lesioncore.readers import load_manifest
    from pipelines.evaluation import mask_scores_of

    for status in config.only:
        if status not in STATUSES:
            raise unknown_name("status", status, STATUSES)
    cache = MaskCache(config.masks)
    rows = _chosen_images(config, load_manifest(config))
    found = [image_id in cache for image_id in rows["image_id"]]
    if not any(found):
        raise LesionError(
            f"{config.masks} has none of the {len(rows)} masks wanted",
            wanted=f"a mask cache of {config.dataset}",
            mend=f"segstage cache --dataset {config.dataset} --root {config.root} "
            f"--out {config.masks} --weights RUN",
        )
    rows = rows[found]
    if config.only:
        statuses = cache.table().set_index("image_id")["status"]
        rows = rows[statuses.reindex(rows["image_id"]).isin(config.only).to_numpy()]
        if rows.empty:
            raise LesionError(
                f"no mask of {config.masks} is {' or '.join(config.only)}",
                wanted=", ".join(f"{n} {name}" for name, n in cache.counts.items()) or "masks",
            )
    rows = rows.merge(mask_scores_of(rows, cache), on="image_id")
    rows["label"] = rows["target"]
    rows["malignant"] = np.nan
    if config.predictions is not None:
        table = read_table(config.predictions, dtype={"image_id": str}).set_index("image_id")
        rows["malignant"] = table["malignant"].reindex(rows["image_id"]).to_numpy(float)
    order = "given" if config.ids else config.order
    ranked = ranked_masks(rows, order, config.seed)
    title = f"Masks of {config.masks.absolute().name}, {_order_words(rows, order)}"
    write_sheet(
        config.out, ranked.head(config.tiles), cache,
        title=title, among=len(ranked), per_row=config.per_row, size=config.tile,
    )  # fmt: skip
    print(config.out)


def _chosen_images(config: OverlayConfig, manifest: pd.DataFrame) -> pd.DataFrame:
    if config.ids:
        known = manifest.set_index(manifest["image_id"].astype(str), drop=False)
        absent = [image_id for image_id in config.ids if image_id not in known.index]
        if absent:
            raise UsageError(
                f"no image {absent[0]!r} in {config.dataset}", wanted="ids of its manifest"
            )
        return known.loc[config.ids].reset_index(drop=True)
    from lesioncore.subsets import choose_subset

    return choose_subset(
        manifest, config.subset, dataset=config.dataset, test_list=config.test_list
    )


def run_sheets(paths: RunPaths, *, subset: str, tiles: int, seed: int) -> None:
    """Write the sheets of a run: `overlays/worst.png` and `overlays/random.png`."""
    from lesioncore.cache import MaskCache

    images = read_table(paths.evaluation / "images.parquet")
    rows = images[images["subset"] == subset]
    cache = MaskCache(paths.cache)
    of = "the test list" if subset == "test" else f"the {subset} images"
    for order, name in (("worst", "worst"), ("random", "random")):
        ranked = ranked_masks(rows, order, seed)
        write_sheet(
            paths.overlays / f"{name}.png", ranked.head(tiles), cache,
            title=f"{paths.folder.absolute().name}: masks of {of}, {_order_words(rows, order)}",
            among=len(ranked),
        )  # fmt: skip


def ranked_masks(rows: pd.DataFrame, order: str, seed: int = 0) -> pd.DataFrame:
    """Return the rows in the order of a sheet.

    Parameters
    ----------
    rows : DataFrame
        With `image_id`, `mask_score`, `dice` (NaN where there is no true mask) and perhaps
        `mask_quality`.
    order : str
        "worst": failed masks, then lowest Dice where there is a truth, elsewhere lowest quality,
        and lowest score where no quality is known;
        "best" is the other way round; "random"; "given" keeps the order.
    seed : int
        Of the random order.
    """
    if order == "given":
        return rows
    if order == "random":
        return rows.sample(frac=1.0, random_state=seed)
    by = rows["dice"].where(rows["dice"].notna(), judged(rows))
    key = by.where(rows["mask_status"] != "failed", -1.0).fillna(-1.0)
    return rows.assign(_key=key).sort_values(["_key", "image_id"], ascending=order == "worst")


def judged(rows: pd.DataFrame) -> pd.Series:
    """Return how good each mask seems without a truth: its quality, else its score."""
    if "mask_quality" not in rows:
        return rows["mask_score"]
    return rows["mask_quality"].where(rows["mask_quality"].notna(), rows["mask_score"])


def seems(rows: pd.DataFrame) -> str:
    """Return the name of what `judged` gives."""
    return "quality" if "mask_quality" in rows and rows["mask_quality"].notna().any() else "score"


def _order_words(rows: pd.DataFrame, order: str) -> str:
    if order in ("random", "given"):
        return {"random": "drawn at random", "given": "as chosen"}[order]
    by = "Dice" if rows["dice"].notna().any() else seems(rows)
    return f"{'lowest' if order == 'worst' else 'highest'} {by} first"


def write_sheet(
    out: Path,
    rows: pd.DataFrame,
    cache: MaskCache,
    *,
    title: str,
    among: int,
    per_row: int = 6,
    size: int = 256,
) -> None:
    """Draw the rows of `images.parquet` (or of `ranked_masks`) and write the sheet to `out`."""
    as_page = out.suffix.lower() == ".html"
    side = 2 * size if as_page else size
    drawn = [draw_tile(row, cache, side) for _, row in track(list(rows.iterrows()), "drawing")]
    tiles = [tile for tile in drawn if tile is not None]
    if not tiles:
        raise LesionError("no image of the contact sheet could be read")
    synthetic = is_synthetic(rows["source"].tolist())
    notes = [
        f"{len(tiles)} of {among:,} images",
        *(["synthetic phantoms"] if synthetic else []),
        "research use, not a diagnosis",
    ]
    truth = bool(rows["mask"].notna().any()) if "mask" in rows else False
    if as_page:
        write_html_sheet(
            out, tiles, title=title, notes=notes, size=size, truth=truth, synthetic=synthetic
        )
        log.info("wrote %s (%.1f MiB)", out, out.stat().st_size / 2**20)
        return
    sheet = contact_sheet(
        tiles, title=title, subtitle=" · ".join(notes), columns=per_row, size=size,
        legend=(truth, True),
    )  # fmt: skip
    with atomic_path(out) as temporary:
        sheet.save(temporary)
    log.info("wrote %s", out)


def draw_tile(row: pd.Series, cache: MaskCache, size: int) -> Tile | None:
    """Return the picture of one image with its masks outlined, None when it cannot be read.

    Parameters
    ----------
    row : Series
        With `image_id`, `image`, `mask`, and any of `dice`, `mask_quality`, `mask_score`,
        `malignant`, `label`.
    cache : MaskCache
    size : int
        Longer side in pixels.
    """
    from lesioncore.images import read_image, read_mask

    image_id = str(row["image_id"])
    entry = cache.read(image_id) if image_id in cache else None
    status = "failed" if entry is None else entry.status
    try:
        image = read_image(row["image"])
        truth = read_mask(row["mask"], image.shape[:2]) if _given(row, "mask") else None
    except LesionError as error:
        log.warning("no picture of %s: %s", image_id, error.found)
        return None
    prediction = entry.mask() if entry is not None and status in ("ok", "edited") else None
    if prediction is not None and prediction.shape != image.shape[:2]:
        raise LesionError(
            f"the cached mask of {image_id} is {prediction.shape}, its image {image.shape[:2]}",
            wanted="masks of these very images",
            mend="segstage cache again: it redoes the masks of images that have changed",
        )
    picture = outlined(image, truth, prediction, size)
    if picture.shape[0] > 2 * picture.shape[1]:
        picture, _ = fit(picture, size)
    return Tile(picture, image_id, caption(row), status)


def caption(row: pd.Series) -> str:
    """Return the figures under a tile, the most telling first."""
    parts = []
    if _given(row, "dice"):
        parts.append(f"Dice {row['dice']:.2f}")
    elif _given(row, "mask_quality"):
        parts.append(f"quality {row['mask_quality']:.2f}")
    elif _given(row, "mask_score"):
        parts.append(f"score {row['mask_score']:.2f}")
    if _given(row, "malignant"):
        parts.append(f"p {row['malignant']:.2f}")
    if _given(row, "label"):
        parts.append("malignant" if row["label"] == 1 else "benign")
    return " · ".join(parts)


def is_synthetic(sources: Sequence[Any]) -> bool:
    """Whether any image comes from the phantom generator."""
    return any("phantom" in str(s).lower() or "synthetic" in str(s).lower() for s in sources)


def _given(row: pd.Series, name: str) -> bool:
    import pandas as pd

    return name in row.index and bool(pd.notna(row[name]))
