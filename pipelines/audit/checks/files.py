"""Images that cannot be read, or that show nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from pipelines.audit.check import Check, register
from pipelines.audit.finding import Finding

if TYPE_CHECKING:
    from pipelines.audit.data import AuditData


@register("files")
class Files(Check):
    """Looks for files that are missing, cut off or of one colour."""

    title = "Files"
    place = 5

    def findings(self, data: AuditData) -> Iterator[Finding]:
        """Yield one finding of unreadable images and one of flat ones."""
        looks = data.looks
        if looks is None:
            yield Finding("files", "note", "no image was looked at: the table alone was audited")
            return
        bad = np.flatnonzero((looks["problem"] != "").to_numpy())
        seen = int(looks["seen"].sum())
        if len(bad) > data.config.max_failed:
            first = looks["problem"].iloc[bad[0]]
            yield Finding(
                "unreadable-images", "error", f"{len(bad):,} of {seen + len(bad):,} images cannot "
                f"be read (first: {first})",
                count=len(bad), of=seen + len(bad), examples=[[n] for n in data.named(bad)],
                why="nothing was looked for in them",
                mend=f"mend the files, or --max-failed {len(bad)} to do without them",
            )  # fmt: skip
        else:
            yield Finding("unreadable-images", "note" if len(bad) else "ok",
                          f"{seen:,} images were read, {len(bad):,} cannot be",
                          count=len(bad), of=seen + len(bad),
                          examples=[[n] for n in data.named(bad)])  # fmt: skip
        flat = np.flatnonzero(looks["seen"].to_numpy(bool) & (looks["flat"] == True).to_numpy())  # noqa: E712
        if len(flat):
            yield Finding(
                "flat-images", "warning", f"{len(flat):,} images show one colour and no detail",
                count=len(flat), of=seen, examples=[[n] for n in data.named(flat)],
                why="nothing can be learned from them, and they are no copies of one another",
                mend="look at them and take them out",
            )  # fmt: skip
