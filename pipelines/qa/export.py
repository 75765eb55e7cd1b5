"""`lesion qa export`: what reviewers decided, into the cache, as PNG masks and as tables."""

from __future__ import annotations

import datetime
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select

from lesioncore.cache import Edit, MaskCache, add_edits
from lesioncore.commands import log_counts
from lesioncore.errors import LesionError
from lesioncore.files import write_json, write_table
from lesioncore.images import write_mask
from lesioncore.metrics import dice
from lesioncore.photos import MASK_SUFFIX
from lesioncore.progress import log, track
from pipelines.qa.agreement import agreement
from pipelines.qa.baseline import Baseline
from pipelines.qa.decisions import (
    JUDGED,
    Decision,
    after_mask,
    before_mask,
    exported_masks,
    note_export,
)
from pipelines.qa.pixels import Mask
from pipelines.qa.queue import PASSED
from pipelines.qa.store import Store, database_url
from pipelines.qa.tables import decisions

if TYPE_CHECKING:
    from pipelines.qa.config import QaExportConfig

#: Edits are written so many at a time.
_BATCH = 256
TABLE, AGREEMENT = "decisions.csv", "agreement.json"


def export(config: QaExportConfig) -> int:
    """Write edits into the cache, PNG masks, `decisions.csv` and `agreement.json`.

    Of an image with several decisions the last one that stands counts; a flag as the last one means
    that nothing is said yet. Given again, the command writes what is new alone, and takes back what
    was undone since.

    Returns
    -------
    int
        1 when a mask could not be written, of an id that is no file name.

    Raises
    ------
    LesionError
        No cache or no decisions there.
    """
    cache = MaskCache(config.masks)
    store = Store(database_url(config.db, config.masks), create=False)
    rows = _rows(store)
    if not rows:
        raise LesionError(f"nothing is decided in {store}", mend="lesion qa --masks CACHE ...")
    baseline = Baseline(cache, exported_masks(store))
    counts, written = _write_edits(config, store, baseline, rows)
    failed = _write_pictures(config.out, baseline, rows) if config.png else 0
    write_table(config.out / TABLE, _table(rows, written))
    pairs = agreement(store)
    write_json(config.out / AGREEMENT, {"pairs": pairs})
    log_counts(counts, "images in the cache")
    for pair in pairs:
        log.info("%s", agreement_words(pair))
    print(config.out)
    return int(failed > 0)


def agreement_words(pair: dict[str, Any]) -> str:
    """Return what two reviewers' agreement is, in one line."""

    def words(name: str) -> str:
        found = pair[name]
        if found["value"] is None:
            return "not defined"
        between = "" if found["low"] is None else f" [{found['low']:.2f}, {found['high']:.2f}]"
        return f"{found['value']:.2f}{between}"

    return (
        f"{' and '.join(pair['reviewers'])} on {pair['images']} images: Dice {words('dice')}, "
        f"kappa {words('kappa')}, the same on {words('same')}, {len(pair['differ'])} to settle"
    )


def final(rows: list[Decision]) -> Decision | None:
    """Return the decision on one image that counts: the last that stands, unless it is a flag."""
    standing = [row for row in rows if row.undone_at is None and row.action != PASSED]
    return standing[-1] if standing and standing[-1].action in JUDGED else None


def _rows(store: Store) -> dict[str, list[Decision]]:
    """Return all decisions by image, in the order they were made."""
    found: dict[str, list[Decision]] = {}
    with store.reading() as connection:
        for row in connection.execute(select(decisions).order_by(decisions.c.id)):
            found.setdefault(row.image_id, []).append(row)
    return found


def _write_edits(
    config: QaExportConfig,
    store: Store,
    baseline: Baseline,
    rows: dict[str, list[Decision]],
) -> tuple[Counter[str], dict[int, int]]:
    """Write what the cache lacks; return what was done, and revisions by decision."""
    counts: Counter[str] = Counter()
    written: dict[int, int] = {}
    waiting: list[tuple[int, Edit]] = []

    def flush() -> None:
        done = [
            (number, row.revision)
            for (number, _), row in zip(
                waiting, add_edits(config.masks, [edit for _, edit in waiting]), strict=True
            )
        ]
        with store.writing() as connection:
            note_export(connection, done, time.time())
        written.update(done)
        waiting.clear()

    for image_id, own in track(list(rows.items()), "writing edits"):
        if image_id not in baseline:
            counts["not in this cache"] += 1
            continue
        word, number, edit = _edit(config, baseline, image_id, own)
        counts[word] += 1
        if edit is not None:
            waiting.append((number, edit))
        if len(waiting) >= _BATCH:
            flush()
    if waiting:
        flush()
    return counts, written


def _edit(
    config: QaExportConfig, baseline: Baseline, image_id: str, rows: list[Decision]
) -> tuple[str, int, Edit | None]:
    """Return what happens to one image, the decision behind it, and the edit if there is one."""
    row = final(rows)
    facts = baseline.facts(image_id)
    before = baseline.exported(image_id)
    if row is not None and not _fits(row, facts):
        return "changed since, left as it is", row.id, None
    wanted = _wanted(config, row, before, by_person=facts["status"] == "edited")
    if wanted is None:
        return ("flagged or open" if row is None else f"{row.action}, as it is"), 0, None
    shape = wanted.shape[0], wanted.shape[1]
    if facts["status"] == "edited" and np.array_equal(wanted, baseline.now(image_id, shape)):
        return "written before", 0, None
    source = row if row is not None else before
    assert source is not None
    what = {"accept": "accepted", "edit": "drawn", "reject": "rejected"}[source.action]
    note = f"lesion qa: {what if row is not None else 'taken back'}"
    edit = Edit(
        image_id=image_id,
        mask=wanted,
        author=source.reviewer,
        note=f"{note}. {source.note}" if source.note else note,
        image_sha256=source.image_sha256,
    )
    return (what if row is not None else "taken back"), source.id, edit


def _fits(row: Decision, facts: dict[str, Any]) -> bool:
    """Whether a decision is about the cache's mask, or draws another for the same picture."""
    if row.version == facts["version"]:
        return True
    known = {row.image_sha256, facts["image_sha256"]} - {""}
    return bool(row.action == "edit" and len(known) < 2)


def _wanted(
    config: QaExportConfig, row: Decision | None, before: Decision | None, *, by_person: bool
) -> Mask | None:
    """Return the mask that the cache is to have, None where it stays as it is."""
    if row is None or (row.action == "reject" and config.rejected == "keep"):
        return None if before is None else before_mask(before)
    if row.action == "accept" and row.after_mask is None and not config.accepted:
        # Its own mask is right; what an earlier export put over it goes.
        return None if before is None else before_mask(row)
    if row.action == "accept" and row.after_mask is None and by_person and before is None:
        return None
    return after_mask(row)


def _write_pictures(out: Path, baseline: Baseline, rows: dict[str, list[Decision]]) -> int:
    """Write <image_id>_segmentation.png of what is right, remove those that are not any more."""
    failed = 0
    for image_id, own in track(list(rows.items()), "writing masks"):
        if image_id not in baseline:
            continue
        name = f"{image_id}{MASK_SUFFIX}.png"
        if Path(name).name != name or "\\" in name or "\0" in name:
            log.warning("no PNG of %r: its id is no file name", image_id)
            failed += 1
            continue
        row = final(own)
        if row is None or row.action == "reject" or not _fits(row, baseline.facts(image_id)):
            (out / name).unlink(missing_ok=True)
        else:
            write_mask(out / name, after_mask(row))
    return failed


def _table(rows: dict[str, list[Decision]], written: dict[int, int]) -> Any:
    import pandas as pd

    listed = []
    for own in rows.values():
        counts = final(own)
        for row in own:
            changed = row.after_mask is not None
            overlap = dice(before_mask(row), after_mask(row)) if changed else 1.0
            listed.append(
                {
                    "image_id": row.image_id,
                    "reviewer": row.reviewer,
                    "action": row.action,
                    "counts": counts is not None and counts.id == row.id,
                    "decided_at": _utc(row.decided_at),
                    "undone_at": _utc(row.undone_at),
                    "seconds": row.seconds,
                    "note": row.note,
                    **{
                        f"{when}_{what}": getattr(row, f"{when}_{what}")
                        for when in ("before", "after")
                        for what in ("revision", "status", "area", "box", "sha256")
                        if when == "before" or what not in ("revision", "status")
                    },
                    "dice": round(overlap, 6),
                    "image_sha256": row.image_sha256,
                    "version": row.version,
                    "exported_revision": written.get(row.id, row.exported_revision),
                }
            )
    table = pd.DataFrame(listed)
    return table.assign(exported_revision=table["exported_revision"].astype("Int64"))


def _utc(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    when = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
