"""Who looks at which image now: a lock a reviewer holds while the page is in use."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from pipelines.qa.store import Store
from pipelines.qa.tables import locks

#: A lock ends so many seconds after the page was last heard of.
LOCK_SECONDS = 120.0


def held_by_others(reviewer: str, now: float) -> ColumnElement[bool]:
    """Return the condition on rows of `locks` that somebody else holds one."""
    return (locks.c.reviewer != reviewer) & (locks.c.until > now)


def take(connection: Connection, image_id: str, reviewer: str, page: str, now: float) -> bool:
    """Lock an image for a reviewer, within a writing transaction; False: another holds it."""
    holder = connection.execute(
        select(locks.c.reviewer).where(locks.c.image_id == image_id, held_by_others(reviewer, now))
    ).scalar()
    if holder is not None:
        return False
    connection.execute(delete(locks).where(locks.c.image_id == image_id))
    connection.execute(
        insert(locks).values(
            image_id=image_id, reviewer=reviewer, page=page, until=now + LOCK_SECONDS
        )
    )
    return True


def hold(store: Store, reviewer: str, page: str, image_ids: Sequence[str]) -> list[str]:
    """Hold on to images for a reviewer; return those that another has got meanwhile."""
    now = time.time()
    with store.writing() as connection:
        return [one for one in image_ids if not take(connection, one, reviewer, page, now)]


def release(store: Store, reviewer: str, page: str) -> None:
    """Let go of the locks of one page that a reviewer closed."""
    with store.writing() as connection:
        connection.execute(delete(locks).where(locks.c.reviewer == reviewer, locks.c.page == page))


def holder_of(store: Store, image_id: str) -> str | None:
    """Return who looks at an image now."""
    with store.reading() as connection:
        return connection.execute(
            select(locks.c.reviewer).where(
                locks.c.image_id == image_id, locks.c.until > time.time()
            )
        ).scalar()
