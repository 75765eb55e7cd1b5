"""Which masks stage 2 trusts, and the checks before it learns from them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesioncore.cache.entry import MaskRow
from lesioncore.errors import LesionError
from lesioncore.files import sha256_json
from lesioncore.progress import log

if TYPE_CHECKING:
    import pandas as pd

    from lesioncore.cache import MaskCache

TRUSTED = ("ok", "edited")


@dataclass(frozen=True)
class MaskTrust:
    """Below which limits a mask is not used; what people drew is always trusted.

    Parameters
    ----------
    min_score : float
        Confidence of the segmenter, 0 to 1.
    min_quality : float
        Estimated quality, 0 to 1; where it is not known, the score is held against this limit.
    """

    min_score: float = 0.0
    min_quality: float = 0.0

    def judge(self, row: MaskRow | None) -> tuple[str, str]:
        """Return (mask_status, reason) of one mask.

        The status is `ok` or `edited` (used), or `empty`, `failed`, `distrusted` or `missing`
        (the full image is seen, for the reason given).
        """
        if row is None:
            return "missing", "the cache has no mask of this image"
        return self._judge(row.status, row.area, row.score, row.quality, row.reason)

    def judge_table(self, rows: pd.DataFrame) -> tuple[list[str], list[str]]:
        """Return statuses and reasons of rows of `MaskCache.table()`; a null status is missing."""
        quality = rows["quality"].astype("float64") if "quality" in rows else None
        judged = [
            self._judge(status, area, score, q, reason)
            if isinstance(status, str)
            else self.judge(None)
            for status, area, score, q, reason in zip(
                rows["status"].tolist(),
                rows["area"].tolist(),
                rows["score"].tolist(),
                [None] * len(rows) if quality is None else quality.tolist(),
                rows["reason"].tolist() if "reason" in rows else [""] * len(rows),
                strict=True,
            )
        ]
        return [status for status, _ in judged], [reason for _, reason in judged]

    def _judge(
        self, status: str, area: float, score: float, quality: float | None, reason: Any
    ) -> tuple[str, str]:
        why = reason if isinstance(reason, str) else ""
        if status == "failed":
            return "failed", why or "the segmenter failed"
        if not area > 0:
            return "empty", why or "the mask is empty"
        if status == "edited":
            return "edited", ""
        if score < self.min_score:
            return "distrusted", f"score {score:.2f} is under {self.min_score:g}"
        known = quality is not None and quality == quality
        judged, name = (quality, "quality") if known else (score, "score")
        if judged is not None and judged < self.min_quality:
            more = f" ({why})" if why else ""
            return "distrusted", f"{name} {judged:.2f} is under {self.min_quality:g}{more}"
        return "ok", ""


@dataclass(frozen=True)
class MaskChoices:
    """What is done with the mask of each of n images.

    Attributes
    ----------
    status, reason : list of str
        As `MaskTrust.judge` says; status `none` where no cache was given.
    used : (n,) bool
        Whether the mask is used.
    """

    status: list[str]
    reason: list[str]

    @property
    def used(self) -> NDArray[np.bool_]:
        """(n,) bool."""
        return np.array([status in TRUSTED for status in self.status], bool)

    def with_own(self, image_ids: Sequence[str], own: Collection[str]) -> MaskChoices:
        """Return these choices with the masks of `own`, which come with their images, used."""
        mine = [name in own for name in image_ids]
        return MaskChoices(
            ["ok" if own else old for own, old in zip(mine, self.status, strict=True)],
            ["" if own else old for own, old in zip(mine, self.reason, strict=True)],
        )

    def counts(self) -> dict[str, int]:
        """Return how many images have each status."""
        return {name: self.status.count(name) for name in sorted(set(self.status))}


def open_masks(folder: Path) -> MaskCache:
    """Return the cache in `folder`; what is not a cache is a `LesionError`."""
    from lesioncore.cache import MaskCache

    return MaskCache(folder)


def rows_of(cache: MaskCache, image_ids: Sequence[str]) -> pd.DataFrame:
    """Return the cache's rows of these images in their order; absent ones are all null."""
    return cache.table().set_index("image_id").reindex(list(image_ids))


def choose_masks(
    cache: MaskCache | None, image_ids: Sequence[str], trust: MaskTrust
) -> MaskChoices:
    """Return which masks are used for these images."""
    if cache is None:
        return MaskChoices(["none"] * len(image_ids), ["no masks were given"] * len(image_ids))
    return MaskChoices(*trust.judge_table(rows_of(cache, image_ids)))


def check_training_masks(
    cache: MaskCache, image_ids: Sequence[str], folder: Path, *, allow_in_sample: bool
) -> None:
    """Refuse masks that stage 2 must not learn from.

    Raises
    ------
    LesionError
        The cache is not complete, lacks some of the images, or holds masks by a segmenter that
        was trained on the same image (unless `allow_in_sample`).
    """
    rows = rows_of(cache, image_ids)
    lacking = rows["status"].isna()
    mend = f"run the segstage cache command that makes {folder} again; it goes on where it stopped"
    if not cache.complete:
        raise LesionError(
            f"the mask cache {folder} is not complete: it has {len(cache)} masks, "
            f"{int((~lacking).sum())} of the {len(rows)} images to train on",
            wanted="a mask of every image",
            mend=mend,
        )
    if lacking.any():
        names = ", ".join(rows.index[lacking][:3])
        raise LesionError(
            f"the mask cache {folder} lacks {int(lacking.sum())} of the {len(rows)} images "
            f"to train on ({names}, ...)",
            wanted="a mask of every image",
            mend=mend + ", or focus on the full image with --focus full",
        )
    in_sample = rows["in_sample"].fillna(False).astype(bool) & (rows["status"] != "edited")
    if in_sample.any() and not allow_in_sample:
        raise LesionError(
            f"{int(in_sample.sum())} of the {len(rows)} masks are by a segmenter that was trained "
            "on the same image: better masks than the classifier will ever meet",
            wanted="out-of-fold masks",
            mend="segstage train --folds 2 (or more) on this archive and segstage cache with it, "
            "or accept them with --allow-in-sample-masks",
        )
    if in_sample.any():
        log.warning("%d masks are in-sample and accepted", int(in_sample.sum()))


def snapshot(cache: MaskCache, image_ids: Sequence[str], folder: Path) -> dict[str, Any]:
    """Return what pins the masks of a training run: fingerprint, counts, highest revision.

    `rows` is a digest of (image, image bytes, revision) of the images in use: two snapshots with
    the same digest and fingerprint hold the same masks.
    """
    rows = rows_of(cache, image_ids)
    keys = rows[["image_sha256", "revision"]].astype(str)
    used = sorted(zip(keys.index, keys["image_sha256"], keys["revision"], strict=True))
    # What judged the masks decides which of them are trusted.
    return {
        "folder": str(folder),
        "fingerprint": cache.fingerprint,
        "quality_models": cache.quality_models,
        "count": len(rows),
        "max_revision": int(rows["revision"].max()) if len(rows) else 0,
        "rows": sha256_json([list(row) for row in used]),
    }


def check_snapshot(pinned: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with a run whose masks have changed since it began.

    Raises
    ------
    LesionError
        Naming each part of the snapshot that differs.
    """
    from lesioncore.cache import fingerprint_differences

    differing = fingerprint_differences(pinned["fingerprint"], now["fingerprint"])
    differing += [
        f"{name}: {pinned[name]!r} -> {now[name]!r}"
        for name in ("count", "max_revision", "rows", "quality_models")
        if pinned.get(name, []) != now[name]
    ]
    if differing:
        raise LesionError(
            f"the masks changed since this run began: {'; '.join(differing)}",
            wanted="the masks that the run was started with",
            mend="train into a new --out, or bring the earlier cache back",
        )
