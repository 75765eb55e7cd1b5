"""What reviewers decided: kept in order, undone but never deleted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from lesioncore.errors import LesionError
from pipelines.qa.locks import take
from pipelines.qa.pixels import Mask, PackedMask, unpacked
from pipelines.qa.queue import PASSED, settle
from pipelines.qa.store import Store
from pipelines.qa.tables import decisions, locks

Action = Literal["accept", "edit", "reject", "flag", "next"]
ACTIONS: tuple[str, ...] = get_args(Action)
#: Actions that say which mask is right.
JUDGED = ("accept", "edit", "reject")

Decision = Row[Any]


@dataclass(frozen=True)
class Before:
    """The mask as it was in the cache, before anybody in this round touched it.

    Attributes
    ----------
    image_id, image_sha256 : str
    version : str
        Which mask it is, see `pipelines.qa.round`.
    revision : int
    status : str
    mask : PackedMask
    """

    image_id: str
    image_sha256: str
    version: str
    revision: int
    status: str
    mask: PackedMask


@dataclass(frozen=True)
class Judgement:
    """One press of a key.

    Attributes
    ----------
    key : str
        Made by the page, so that what is sent twice is kept once.
    reviewer : str
    action : {"accept", "edit", "reject", "flag", "next"}
    after : PackedMask
        The mask that the reviewer wants.
    note : str
    seconds : float, optional
        How long it took.
    """

    key: str
    reviewer: str
    action: Action
    after: PackedMask
    note: str = ""
    seconds: float | None = None


def record(store: Store, before: Before, judgement: Judgement) -> None:
    """Keep a decision; it is on disk when this returns. The reviewer's lock ends."""
    after = judgement.after
    row = {
        "key": judgement.key,
        "image_id": before.image_id,
        "version": before.version,
        "reviewer": judgement.reviewer,
        "action": judgement.action,
        "note": judgement.note,
        "decided_at": time.time(),
        "seconds": judgement.seconds,
        "image_sha256": before.image_sha256,
        "height": before.mask.shape[0],
        "width": before.mask.shape[1],
        "before_revision": before.revision,
        "before_status": before.status,
        "before_area": before.mask.area,
        "before_box": _words(before.mask),
        "before_sha256": before.mask.sha256,
        "before_mask": before.mask.data,
        "after_area": after.area,
        "after_box": _words(after),
        "after_sha256": after.sha256,
        "after_mask": None if after.sha256 == before.mask.sha256 else after.data,
    }
    with store.writing() as connection:
        known = select(decisions.c.id).where(decisions.c.key == judgement.key)
        if connection.execute(known).first() is not None:
            return
        connection.execute(insert(decisions).values(**row))
        settle(connection, before.image_id)
        connection.execute(
            delete(locks).where(
                locks.c.image_id == before.image_id, locks.c.reviewer == judgement.reviewer
            )
        )


def undo(store: Store, reviewer: str, page: str) -> str | None:
    """Take a reviewer's last decision back and lock its image for them; return its id.

    Returns
    -------
    str or None
        None where nothing is left to undo.

    Raises
    ------
    LesionError
        Somebody else looks at that image now.
    """
    now = time.time()
    with store.writing() as connection:
        last = connection.execute(
            select(decisions.c.id, decisions.c.image_id)
            .where(decisions.c.reviewer == reviewer, decisions.c.undone_at.is_(None))
            .order_by(decisions.c.id.desc())
            .limit(1)
        ).first()
        if last is None:
            return None
        if not take(connection, last.image_id, reviewer, page, now):
            raise LesionError(
                f"somebody else looks at {last.image_id} now", wanted="to undo while nobody does"
            )
        connection.execute(update(decisions).where(decisions.c.id == last.id).values(undone_at=now))
        settle(connection, last.image_id)
        return str(last.image_id)


def standing(store: Store, image_id: str, reviewer: str | None = None) -> Decision | None:
    """Return the last decision on an image that stands, of one reviewer or of all.

    Passing over is none.
    """
    condition = (
        (decisions.c.image_id == image_id)
        & decisions.c.undone_at.is_(None)
        & (decisions.c.action != PASSED)
    )
    if reviewer is not None:
        condition &= decisions.c.reviewer == reviewer
    with store.reading() as connection:
        query = select(decisions).where(condition).order_by(decisions.c.id.desc()).limit(1)
        return connection.execute(query).first()


def exported_masks(store: Store) -> dict[str, Decision]:
    """Return, for each image, the decision whose mask was written into the cache last."""
    newest = (
        select(func.max(decisions.c.exported_revision).label("revision"), decisions.c.image_id)
        .group_by(decisions.c.image_id)
        .where(decisions.c.exported_revision.is_not(None))
        .subquery()
    )
    query = select(decisions).join(
        newest,
        (newest.c.image_id == decisions.c.image_id)
        & (newest.c.revision == decisions.c.exported_revision),
    )
    with store.reading() as connection:
        return {row.image_id: row for row in connection.execute(query)}


def note_export(connection: Connection, written: Sequence[tuple[int, int]], when: float) -> None:
    """Note which decisions went into the cache: pairs of decision and revision."""
    for decision, revision in written:
        connection.execute(
            update(decisions)
            .where(decisions.c.id == decision)
            .values(exported_at=when, exported_revision=revision)
        )


def before_mask(row: Decision) -> Mask:
    """Return the mask (H, W) that a decision was about."""
    return unpacked(row.before_mask, (row.height, row.width))


def after_mask(row: Decision) -> Mask:
    """Return the mask (H, W) that a decision asks for."""
    if row.after_mask is None:
        return before_mask(row)
    return unpacked(row.after_mask, (row.height, row.width))


def _words(mask: PackedMask) -> str:
    return " ".join(str(value) for value in mask.box)
