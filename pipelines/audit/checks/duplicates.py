"""The same picture more than once: equal, or at another size, quality, crop or white balance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipelines.audit.check import Check, register
from pipelines.audit.finding import Finding, Level, counted

if TYPE_CHECKING:
    from pipelines.audit.data import AuditData

Groups = Sequence[npt.NDArray[np.int64]]

# What a group of copies is, the worst first: name, level, words, why, what to do.
_KINDS: dict[str, tuple[Level, str, str, str]] = {
    "-across-parts": (
        "error", "in several parts of the split",
        "a model is tested on pictures that it has learned by heart",
        "split again with the copies in one part (`clsstage train` looks for them), or take the "
        "copies out of all parts but one",
    ),
    "-across-archives": (
        "warning", "in several archives",
        "who learns from one archive and tests on the other tests on what was learned",
        "keep each picture once before archives are joined or compared",
    ),
    "": (
        "warning", "under several lesions or patients",
        "a split by patient or lesion divides them; in one part they count twice",
        "keep one of each, and look whether their ids are right",
    ),
    "-of-a-lesion": (
        "note", "of one lesion or patient",
        "no leak while they stay in one part; they count twice",
        "",
    ),
}  # fmt: skip


@register("duplicates")
class Duplicates(Check):
    """Looks for equal and nearly equal pictures."""

    title = "The same picture more than once"
    place = 20

    def findings(self, data: AuditData) -> Iterator[Finding]:
        """Yield one finding for each kind of copies that there is."""
        copies = data.copies
        if copies is None:
            yield Finding("duplicates", "note", "No image was looked at: copies are unknown")
            return
        seen = int(data.looks["seen"].sum()) if data.looks is not None else 0
        yield from _kinds(
            data, "exact", copies.exact, "No two pictures have the same pixels", seen,
            {"equal_files": copies.same_bytes},
        )  # fmt: skip
        turned = int((copies.turns > 0).sum())
        yield from _kinds(
            data, "near", copies.near,
            f"No picture is a near copy of another ({copies.candidates:,} likely pairs were "
            "compared)",
            seen, {"pairs": len(copies.pairs), "turned": turned, "compared": copies.candidates},
        )  # fmt: skip


def _kinds(
    data: AuditData, kind: str, groups: Groups, nothing: str, seen: int, figures: dict[str, Any]
) -> Iterator[Finding]:
    name = f"{kind}-duplicates"
    if not groups:
        yield Finding(name, "ok", nothing, of=seen, figures=figures)
        return
    found: dict[str, list[npt.NDArray[np.int64]]] = {suffix: [] for suffix in _KINDS}
    for rows in groups:
        found[_kind_of(data, rows)].append(rows)
    what = "The same pixels" if kind == "exact" else "Nearly the same picture"
    for suffix, listed in found.items():
        if not listed:
            continue
        level, words, why, mend = _KINDS[suffix]
        images = sum(len(rows) for rows in listed)
        yield Finding(
            name + suffix, level,
            f"{what} {words}: {counted(images, 'image')} in {counted(len(listed), 'group')}"
            + (f" ({_between(data, listed)})" if suffix == "-across-parts" else ""),
            count=images, of=seen, examples=[data.named(rows) for rows in listed],
            why=why, mend=mend, figures=figures, pictured=True,
        )  # fmt: skip


def _kind_of(data: AuditData, rows: npt.NDArray[np.int64]) -> str:
    table = data.manifest.iloc[rows]
    if data.parts is not None and data.parts.iloc[rows].nunique() > 1:
        return "-across-parts"
    if table["source"].nunique() > 1:
        return "-across-archives"
    for column in ("lesion_id", "patient_id"):
        # Null is nobody's: an unknown lesion is not the same one.
        if table[column].notna().all() and table[column].nunique() == 1:
            return "-of-a-lesion"
        if table[column].notna().all():
            break  # told apart by lesion, whatever the patient
    return ""


def _between(data: AuditData, groups: Groups) -> str:
    from collections import Counter

    assert data.parts is not None
    parts = data.parts
    names = [" and ".join(sorted(map(str, parts.iloc[rows].dropna().unique()))) for rows in groups]
    return "; ".join(f"{count:,} in {name}" for name, count in Counter(names).most_common(4))
