"""The queue of a round: which images still need a reviewer, and who gets the next."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import (
    Connection,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from pipelines.qa.locks import held_by_others, take
from pipelines.qa.priority import Turn
from pipelines.qa.store import Store
from pipelines.qa.tables import decisions, items, locks

#: Actions that do not settle an image: it was only passed over.
PASSED = "next"


def enrol(store: Store, turns: Sequence[Turn]) -> None:
    """Make the queue, or bring it up to date.

    Images that are there already keep their place; new ones follow behind. Where the mask itself
    changed, it is open again. Images that are not among `turns` rest until they are.
    """
    with store.writing() as connection:
        columns = (items.c.image_id, items.c.version, items.c.wanted, items.c.audit)
        there = {row.image_id: row for row in connection.execute(select(*columns))}
        first = connection.execute(select(func.max(items.c.rank))).scalar()
        rank = 0 if first is None else first + 1
        new, changed = [], []
        for turn in turns:
            old = there.pop(turn.image_id, None)
            if old is None:
                new.append(
                    {"image_id": turn.image_id, "rank": rank, "why": turn.why, "open": True,
                     "audit": turn.audit, "wanted": turn.wanted, "version": turn.version}
                )  # fmt: skip
                rank += 1
            elif (old.version, old.wanted) != (turn.version, turn.wanted):
                changed.append(turn)
        if new:
            connection.execute(insert(items), new)
        if changed:
            connection.execute(
                update(items)
                .where(items.c.image_id == bindparam("name"))
                .values(version=bindparam("to"), wanted=bindparam("needs"), why=bindparam("said")),
                [
                    {"name": turn.image_id, "to": turn.version, "needs": turn.wanted,
                     "said": turn.why}
                    for turn in changed
                ],
            )  # fmt: skip
        resting = [name for name, row in there.items() if row.wanted > 0]
        if resting:
            connection.execute(
                update(items).where(items.c.image_id == bindparam("name")).values(wanted=0),
                [{"name": name} for name in resting],
            )
        if changed or resting:
            settle(connection)


def settle(connection: Connection, image_id: str | None = None) -> None:
    """Note whether an image (all, when left out) still needs a reviewer.

    Within a writing transaction.
    """
    reviewers = (
        select(func.count(decisions.c.reviewer.distinct()))
        .where(
            decisions.c.image_id == items.c.image_id,
            decisions.c.version == items.c.version,
            decisions.c.undone_at.is_(None),
            decisions.c.action != PASSED,
        )
        .scalar_subquery()
    )
    change = update(items).values(open=reviewers < items.c.wanted)
    connection.execute(change if image_id is None else change.where(items.c.image_id == image_id))


def claim(store: Store, reviewer: str, page: str, count: int) -> list[str]:
    """Lock the next images for a reviewer and return their ids, in the order of the queue.

    `page` names the page that asks; its locks end with it. What the reviewer holds already counts
    among them. No image is given to two reviewers at once, nor to one who has decided on it or
    passed it over.
    """
    now = time.time()
    decided = exists().where(
        decisions.c.image_id == items.c.image_id,
        decisions.c.version == items.c.version,
        decisions.c.reviewer == reviewer,
        decisions.c.undone_at.is_(None),
    )
    taken = exists().where(locks.c.image_id == items.c.image_id, held_by_others(reviewer, now))
    with store.writing() as connection:
        connection.execute(delete(locks).where(locks.c.until <= now))
        found = connection.execute(
            select(items.c.image_id)
            .where(items.c.open, ~decided, ~taken)
            .order_by(items.c.rank)
            .limit(count)
        ).scalars()
        return [one for one in found.all() if take(connection, one, reviewer, page, now)]


def left_open(store: Store) -> str:
    """Return in words how many images still need a reviewer."""
    with store.reading() as connection:
        query = select(func.count(), func.sum(case((items.c.open, 1), else_=0)))
        total, left = connection.execute(query.where(items.c.wanted > 0)).one()
    return f"{left or 0:,} of {total:,} images to look at"


def left_for(store: Store, reviewer: str) -> int:
    """Return how many images a reviewer passed over that are still open."""
    with store.reading() as connection:
        return int(
            connection.execute(
                select(func.count(decisions.c.image_id.distinct()))
                .join(items, items.c.image_id == decisions.c.image_id)
                .where(
                    items.c.open,
                    decisions.c.version == items.c.version,
                    decisions.c.reviewer == reviewer,
                    decisions.c.action == PASSED,
                    decisions.c.undone_at.is_(None),
                )
            ).scalar_one()
        )


def bring_back(store: Store, reviewer: str) -> None:
    """Put what a reviewer passed over back into the queue."""
    with store.writing() as connection:
        connection.execute(
            update(decisions)
            .where(
                decisions.c.reviewer == reviewer,
                decisions.c.action == PASSED,
                decisions.c.undone_at.is_(None),
            )
            .values(undone_at=time.time())
        )
