"""A round of review: images, their masks before and after, and the queue of who sees what."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lesioncore.cache import MaskCache
from lesioncore.cache.measured import read_measurements
from lesioncore.errors import LesionError
from lesioncore.images import read_image
from pipelines.qa.baseline import Baseline, cached_mask
from pipelines.qa.decisions import (
    JUDGED,
    Action,
    Before,
    Decision,
    Judgement,
    after_mask,
    exported_masks,
    record,
    standing,
)
from pipelines.qa.pictures import Pictures
from pipelines.qa.pixels import Mask, PackedMask, drawn_on
from pipelines.qa.priority import Turn, order_of_review
from pipelines.qa.queue import enrol
from pipelines.qa.store import Store

log = logging.getLogger("lesion")


@dataclass(frozen=True)
class Shown:
    """What a reviewer sees of an image.

    Attributes
    ----------
    before : Before
        The cache's mask.
    mask : (H, W) bool
        Of the decision that stands, else the cache's; of a rejection the rejected one.
    decision : int
        Number of the decision that stands; 0 where there is none.
    action, note, by : str
        What it was, what was said with it, and whose; empty where there is none.
    """

    before: Before
    mask: Mask
    decision: int = 0
    action: str = ""
    note: str = ""
    by: str = ""


class ReviewRound:
    """Images, masks and decisions of one round. May be used by several threads.

    Parameters
    ----------
    store : Store
    cache : MaskCache
        The masks that are judged, as they are now.
    images : mapping of str to str
        Image id to the reference of its picture, of those that the round is about.
    against : MaskCache, optional
        Other masks of the same images.
    audit, overlap, seed
        See `pipelines.qa.priority.order_of_review`.

    Raises
    ------
    LesionError
        The cache has none of the images.
    """

    def __init__(
        self,
        store: Store,
        cache: MaskCache,
        images: Mapping[str, str],
        against: MaskCache | None = None,
        *,
        audit: float = 0.0,
        overlap: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.store = store
        self.against = against
        self.images = {name: ref for name, ref in images.items() if name in cache}
        if not self.images:
            raise LesionError(
                f"{cache.folder} has no mask of the {len(images)} images",
                wanted="a mask cache of this data set",
            )
        self.baseline = Baseline(cache, exported_masks(store), self.images)
        self.pictures = Pictures(self.images)
        self._size = lru_cache(maxsize=4096)(self._read_size)
        measured = None
        try:
            measured = read_measurements(cache.folder)
        except LesionError as error:
            log.info("%s: unusual masks are told by their size alone", error.found)
        turns = order_of_review(
            self.baseline.table, measured, audit=audit, overlap=overlap, seed=seed
        )
        enrol(store, turns)
        self._turns = {turn.image_id: turn for turn in turns}

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._turns

    def turn(self, image_id: str) -> Turn:
        """Return the place of an image in the queue."""
        return self._turns[image_id]

    def shape(self, image_id: str) -> tuple[int, int]:
        """Return the size (H, W) of an image; (0, 0) where nothing tells it."""
        facts = self.baseline.facts(image_id)
        known = int(facts["height"]), int(facts["width"])
        return known if min(known) > 0 else self._size(image_id)

    def shown(self, image_id: str, reviewer: str) -> Shown:
        """Return what a reviewer sees of an image.

        Where two reviewers get an image, nobody sees what the other one did.
        """
        before = self.baseline.before(image_id, self.shape(image_id))
        twice = self.turn(image_id).wanted > 1
        last = standing(self.store, image_id, reviewer if twice else None)
        if last is None or (last.version != before.version and not _still_right(last, before)):
            return Shown(before, before.mask.mask())
        # Of a rejection the mask that was rejected: whoever thinks better of it accepts that one.
        mask = after_mask(last) if last.action in ("accept", "edit") else before.mask.mask()
        return Shown(before, mask, last.id, last.action, last.note, last.reviewer)

    def other(self, image_id: str) -> Mask | None:
        """Return the mask (H, W) of the other cache, None where it has none of this size."""
        if self.against is None or image_id not in self.against:
            return None
        mask = cached_mask(self.against, image_id, self.shape(image_id))
        return mask if mask.shape == self.shape(image_id) else None

    def decide(
        self,
        image_id: str,
        *,
        key: str,
        reviewer: str,
        action: Action,
        drawn: Mask | None = None,
        note: str = "",
        seconds: float | None = None,
    ) -> None:
        """Keep a decision.

        Parameters
        ----------
        drawn : (h, w) bool, optional
            With `edit`: the mask at the size of the page, see `pixels.view_shape`. Left out, the
            other cache's mask is taken.

        Raises
        ------
        LesionError
            A drawn mask of another size, no other mask to take, or a judgement on the mask of an
            image that cannot be read.
        """
        shown = self.shown(image_id, reviewer)
        if action in JUDGED and not shown.mask.size:
            raise LesionError(f"{image_id} cannot be read", wanted="flag it, or go on without")
        after = shown.mask
        if action == "reject":
            after = np.zeros_like(after)
        elif action == "edit" and drawn is not None:
            after = drawn_on(after, drawn)
        elif action == "edit":
            other = self.other(image_id)
            if other is None:
                raise LesionError(f"no other mask of {image_id} to take", wanted="--against CACHE")
            after = other
        judgement = Judgement(
            key=key, reviewer=reviewer, action=action, after=PackedMask.of(after), note=note,
            seconds=seconds,
        )  # fmt: skip
        record(self.store, shown.before, judgement)

    def _read_size(self, image_id: str) -> tuple[int, int]:
        try:
            height, width = read_image(self.images[image_id]).shape[:2]
        except LesionError as error:
            log.warning("%s: %s", image_id, error.found)
            return 0, 0
        return height, width


def _still_right(row: Decision, before: Before) -> bool:
    """Whether it is what a person drew on an earlier mask of the same picture."""
    same = row.image_sha256 == before.image_sha256 and (row.height, row.width) == before.mask.shape
    return bool(same and row.action == "edit")
