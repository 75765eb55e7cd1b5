"""The pages of a round, rendered on the server."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, select_autoescape
from sqlalchemy import func, select

from pipelines.pipeline import NOTICE
from pipelines.qa.agreement import agreement
from pipelines.qa.assistant import PageAssistant
from pipelines.qa.progress import audit_sample, progress, reviewers
from pipelines.qa.queue import PASSED
from pipelines.qa.round import ReviewRound
from pipelines.qa.tables import decisions, items
from pipelines.qa.view import item

#: Images on a page of a list.
_PAGE = 48
LISTS = {
    "flag": "Flagged",
    "edit": "Edited",
    "reject": "Rejected",
    "accept": "Accepted",
    "open": "Open",
}


class Pages:
    """Renders the pages.

    Parameters
    ----------
    review : ReviewRound
    title : str
        What is looked through.
    assistant : PageAssistant
    """

    def __init__(self, review: ReviewRound, *, title: str, assistant: PageAssistant) -> None:
        self.review_round = review
        self.assistant = assistant
        self._templates = Environment(
            loader=PackageLoader("pipelines.qa"),
            autoescape=select_autoescape(["html", "j2"]),
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["when"] = _when
        self._templates.filters["count"] = lambda value: f"{value:,}"
        self._templates.filters["quoted"] = lambda value: quote(value, safe="")
        self._templates.globals |= {"title": title, "notice": NOTICE, "lists": LISTS}

    def start(self, reviewer: str | None) -> str:
        """Return the first page: who sits here, and how far the round is."""
        store = self.review_round.store
        return self._render(
            "start",
            reviewer=reviewer,
            progress=progress(store, reviewer or ""),
            people=reviewers(store),
            audit=audit_sample(store),
            database=str(store),
        )

    def review(
        self, reviewer: str, page: str, image_ids: Sequence[str], holder: str | None = None
    ) -> str:
        """Return the page on which masks are judged.

        Parameters
        ----------
        reviewer : str
        page : str
            Name of this very page, which its locks bear.
        image_ids : sequence of str
            What it shows first, and what comes next.
        holder : str, optional
            Who else looks at the first image now.
        """
        store = self.review_round.store
        boot: dict[str, Any] = {
            "round": store.round,
            "page": page,
            "reviewer": reviewer,
            "items": [item(self.review_round, one, reviewer) for one in image_ids],
            "progress": progress(store, reviewer).to_dict(),
            "holder": holder,
            "assistant": self.assistant.missing,
        }
        return self._render("review", reviewer=reviewer, boot=boot,
                            other=self.review_round.against is not None)  # fmt: skip

    def listed(self, reviewer: str, show: str, at: int) -> str:
        """Return page `at` of a list of images, by the last decision on each."""
        kind = show if show in LISTS else "flag"
        rows, total = self._rows(kind, at, reviewer)
        return self._render(
            "list", reviewer=reviewer, kind=kind, rows=rows, total=total, at=at,
            last=max(1, -(-total // _PAGE)),
        )  # fmt: skip

    def agreement(self, reviewer: str | None) -> str:
        """Return how well reviewers agree."""
        pairs = agreement(self.review_round.store, resamples=200)
        return self._render("agreement", reviewer=reviewer, pairs=pairs)

    def _rows(self, kind: str, at: int, reviewer: str) -> tuple[list[dict[str, Any]], int]:
        if kind == "open":
            found = select(items.c.image_id, items.c.why).where(items.c.open)
            order: Any = items.c.rank
        else:
            last = (
                select(func.max(decisions.c.id))
                .where(decisions.c.undone_at.is_(None), decisions.c.action != PASSED)
                .group_by(decisions.c.image_id)
            )
            # What a first reviewer did is no hint for the second one.
            hint = items.c.open & (items.c.wanted > 1) & (decisions.c.reviewer != reviewer)
            columns = (decisions.c[name] for name in ("image_id", "reviewer", "note", "decided_at"))
            found = (
                select(*columns)
                .join(items, items.c.image_id == decisions.c.image_id)
                .where(decisions.c.id.in_(last), decisions.c.action == kind, ~hint)
            )
            order = decisions.c.id.desc()
        with self.review_round.store.reading() as connection:
            total = connection.execute(select(func.count()).select_from(found.subquery())).scalar()
            part = found.order_by(order).limit(_PAGE).offset((at - 1) * _PAGE)
            rows = [dict(row._mapping) for row in connection.execute(part)]
        return [row for row in rows if row["image_id"] in self.review_round], int(total or 0)

    def _render(self, name: str, **values: Any) -> str:
        return self._templates.get_template(f"{name}.html.j2").render(**values)


def _when(seconds: float) -> str:
    local = datetime.datetime.fromtimestamp(seconds, datetime.UTC).astimezone()
    return local.strftime("%Y-%m-%d %H:%M")
