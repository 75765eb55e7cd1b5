"""Images that cannot be read, or that show nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from pipelines.audit.check import Check, register
from pipelines.audit.finding import Finding, counted

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
            yield Finding("files", "note", "No image was looked at: the table alone was audited")
            return
        bad = np.flatnonzero((looks["problem"] != "").to_numpy())
        seen = int(looks["seen"].sum())
        if len(bad) > data.config.max_failed:
            first = looks["problem"].iloc[bad[0]].rpartition(": ")[2]
            yield Finding(
                "unreadable-images", "error",
                f"Unreadable: {len(bad):,} of {counted(seen + len(bad), 'image')} "
                f"({data.ids[bad[0]]}: {first})",
                count=len(bad), of=seen + len(bad), examples=[[n] for n in data.named(bad)],
                why="nothing was looked for in them",
                mend=f"mend the files, or `--max-failed {len(bad)}` to do without them",
            )  # fmt: skip
        else:
            yield Finding("unreadable-images", "note" if len(bad) else "ok",
                          f"{counted(seen, 'image')} read, {len(bad):,} unreadable",
                          count=len(bad), of=seen + len(bad),
                          examples=[[n] for n in data.named(bad)])  # fmt: skip
        flat = np.flatnonzero(looks["seen"].to_numpy(bool) & (looks["flat"] == True).to_numpy())  # noqa: E712
        if len(flat):
            yield Finding(
                "flat-images", "warning",
                f"One colour and no detail: {counted(len(flat), 'image')}",
                count=len(flat), of=seen, examples=[[n] for n in data.named(flat)],
                why="nothing can be learned from them, and they are no copies of one another",
                mend="look at them and take them out",
            )  # fmt: skip
