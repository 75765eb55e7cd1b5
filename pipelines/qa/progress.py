"""How far a round is, how fast it goes, and what the random sample says of the rest."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import case, func, select

from lesioncore.calibration.conformal import binomial
from pipelines.qa.decisions import JUDGED
from pipelines.qa.queue import PASSED
from pipelines.qa.store import Store
from pipelines.qa.tables import decisions, items

#: The pace is that of so many last decisions.
_RECENT = 40
#: A longer look was a break.
_BREAK_SECONDS = 180.0


@dataclass(frozen=True)
class Progress:
    """Where a round stands.

    Attributes
    ----------
    total, done : int
        Images in the round, and those that need nobody any more.
    mine : int
        Decisions of this reviewer that stand.
    an_hour : float or None
        This reviewer's pace, masks an hour; None at the beginning.
    hours_left : float or None
        For this reviewer alone at that pace.
    """

    total: int
    done: int
    mine: int
    an_hour: float | None
    hours_left: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def progress(store: Store, reviewer: str) -> Progress:
    """Return where the round stands for a reviewer."""
    with store.reading() as connection:
        in_round = select(func.count(), func.sum(case((items.c.open, 0), else_=1))).where(
            items.c.wanted > 0
        )
        total, done = connection.execute(in_round).one()
        own = (
            (decisions.c.reviewer == reviewer)
            & decisions.c.undone_at.is_(None)
            & (decisions.c.action != PASSED)
        )
        mine = connection.execute(select(func.count()).where(own)).scalar_one()
        recent = connection.execute(
            select(decisions.c.seconds)
            .where(own, decisions.c.seconds.is_not(None))
            .order_by(decisions.c.id.desc())
            .limit(_RECENT)
        ).scalars()
        looks = [one for one in recent if 0 < one < _BREAK_SECONDS]
    pace = 3600 / statistics.fmean(looks) if len(looks) >= 5 else None
    left = total - (done or 0)
    return Progress(total, done or 0, mine, pace, left / pace if pace else None)


@dataclass(frozen=True)
class Reviewer:
    """One person's part of a round.

    Attributes
    ----------
    accept, edit, reject, flag : int
        Decisions that stand.
    last : float
        When the last one was made, seconds since 1970.
    """

    name: str
    accept: int
    edit: int
    reject: int
    flag: int
    last: float

    @property
    def total(self) -> int:
        """Decisions of all kinds."""
        return self.accept + self.edit + self.reject + self.flag


def reviewers(store: Store) -> list[Reviewer]:
    """Return everybody who decided something, the busiest first."""
    kinds = ("accept", "edit", "reject", "flag")
    with store.reading() as connection:
        rows = connection.execute(
            select(
                decisions.c.reviewer,
                *(func.sum(case((decisions.c.action == kind, 1), else_=0)) for kind in kinds),
                func.max(decisions.c.decided_at),
            )
            .where(decisions.c.undone_at.is_(None), decisions.c.action != PASSED)
            .group_by(decisions.c.reviewer)
        ).all()
    found = [
        Reviewer(row[0], int(row[1]), int(row[2]), int(row[3]), int(row[4]), float(row[5]))
        for row in rows
    ]
    return sorted(found, key=lambda one: (-one.total, one.name))


@dataclass(frozen=True)
class Audit:
    """What the random sample says of the whole cache.

    Attributes
    ----------
    judged, accepted : int
        Masks of the sample that were looked at, and those that were good as they are.
    low, high : float
        Exact binomial 95% interval of the part that is good.
    """

    judged: int
    accepted: int
    low: float
    high: float


def audit_sample(store: Store) -> Audit | None:
    """Return what the random sample says so far; None before anything of it was judged."""
    with store.reading() as connection:
        last = (
            select(func.max(decisions.c.id))
            .join(items, items.c.image_id == decisions.c.image_id)
            .where(
                items.c.audit,
                items.c.wanted > 0,
                decisions.c.version == items.c.version,
                decisions.c.undone_at.is_(None),
                decisions.c.action.in_(JUDGED),
            )
            .group_by(decisions.c.image_id)
        )
        query = select(decisions.c.action, func.count()).where(decisions.c.id.in_(last))
        counts = {a: int(n) for a, n in connection.execute(query.group_by(decisions.c.action))}
    judged = sum(counts.values())
    if not judged:
        return None
    accepted = counts.get("accept", 0)
    ends = binomial(accepted, judged)
    return Audit(judged, accepted, ends["low"], ends["high"])
