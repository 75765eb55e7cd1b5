"""People who could be recognised: faces in photographs, places written into files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from pipelines.audit.check import Check, register
from pipelines.audit.finding import Finding, counted

if TYPE_CHECKING:
    from pipelines.audit.data import AuditData


@register("faces")
class Faces(Check):
    """Looks for faces, and for where a photograph was taken."""

    title = "People who could be recognised"
    place = 60

    def findings(self, data: AuditData) -> Iterator[Finding]:
        """Yield one finding of faces and one of places."""
        looks = data.looks
        if looks is None:
            yield Finding("faces", "note", "No image was looked at: whether people can be "
                          "recognised is unknown")  # fmt: skip
            return
        searched = looks["faces"].notna().to_numpy()
        boxes = {
            int(row): json.loads(looks["faces"].iloc[row])
            for row in np.flatnonzero(searched & (looks["faces"] != "[]").to_numpy())
        }
        count = int(searched.sum())
        tiles = int(looks["seen"].sum()) - count
        left = (
            f" ({counted(tiles, 'tile')} of total body photography not searched)" if tiles else ""
        )
        if boxes:
            rows = np.array(sorted(boxes))
            yield Finding(
                "faces", "error",
                f"What seems to be a face in {len(boxes):,} of {counted(count, 'image')}{left}",
                count=len(boxes), of=count, examples=[[name] for name in data.named(rows)],
                why="people can be recognised: such images need more than a licence",
                mend="look at these images yourself; take out or cover what shows a person, or "
                "`--allow faces` where none does",
                figures={"boxes": {str(data.ids[row]): boxes[row] for row in sorted(boxes)[:1000]}},
            )  # fmt: skip
        else:
            yield Finding(
                "faces", "ok" if count else "note",
                f"No face was found in {counted(count, 'image')}{left}",
                of=count, why="faces that are turned, cut or small can be missed",
            )  # fmt: skip
        placed = np.flatnonzero((looks["gps"] == True).to_numpy())  # noqa: E712 - null where not seen
        if len(placed):
            yield Finding(
                "gps-tags", "warning",
                f"Where it was taken (GPS in EXIF) in {counted(len(placed), 'file')}",
                count=len(placed), of=int(looks["seen"].sum()),
                examples=[[name] for name in data.named(placed)],
                why="the place of a photograph can be a patient's home",
                mend="strip the EXIF data of the files",
            )  # fmt: skip
