"""One picture, or one lesion, with two truths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipelines.audit.check import Check, register
from pipelines.audit.finding import Finding, Level, counted

if TYPE_CHECKING:
    from pipelines.audit.data import AuditData

Groups = Sequence[npt.NDArray[np.int64]]
_WHY = "one of the labels is wrong: it teaches the opposite, and no score can be perfect"
_MEND = "look at the records, and correct or take out what cannot be settled"


@register("labels")
class Labels(Check):
    """Looks for copies and lesions whose labels or diagnoses differ."""

    title = "Labels that contradict one another"
    place = 30

    def findings(self, data: AuditData) -> Iterator[Finding]:
        """Yield conflicts within copies and within lesions."""
        copies = data.copies
        if copies is not None:
            # Equal pictures of a chain of near copies are in the chain.
            chained = {int(row) for rows in copies.near for row in rows}
            alone = [rows for rows in copies.exact if int(rows[0]) not in chained]
            yield from _conflicts(data, "copies", [*alone, *copies.near], "error", "warning")
        lesions = _by_lesion(data)
        yield from _conflicts(data, "lesions", lesions, "warning", "note")


def _conflicts(
    data: AuditData, of: str, groups: Groups, labels: Level, diagnoses: Level
) -> Iterator[Finding]:
    """Yield the groups with two labels, and those with one label and two diagnoses."""
    differ = [rows for rows in groups if _values(data.labels[rows]) > 1]
    named = data.manifest["diagnosis"].to_numpy(object)
    taken = {int(row) for rows in differ for row in rows}
    also = [
        rows for rows in groups
        if _values(named[rows]) > 1 and not taken.intersection(rows.tolist())
    ]  # fmt: skip
    for name, level, found, values, word in (
        ("label-conflict", labels, differ, _label_word(data), f"labels by {data.policy!r}"),
        ("diagnosis-conflict", diagnoses, also, named, "diagnoses"),
    ):
        full = f"{name}-of-{of}"
        if not found:
            if name == "label-conflict":
                agree = f"{of.capitalize()} agree on their labels"
                yield Finding(full, "ok", f"{agree} ({counted(len(groups), 'group')})",
                              of=len(groups))  # fmt: skip
            continue
        told = _told(data, found[0], values)
        yield Finding(
            full, level,
            f"Several {word} in {len(found):,} of {counted(len(groups), 'group')} of {of} ({told})",
            count=len(found), of=len(groups), examples=[data.named(rows) for rows in found],
            why=_WHY, mend=_MEND, pictured=of == "copies",
        )  # fmt: skip


def _told(data: AuditData, rows: npt.NDArray[np.int64], values: npt.NDArray[Any]) -> str:
    """Return one image of each value, in words."""
    first: dict[Any, int] = {}
    for row in rows.tolist():
        if isinstance(values[row], str):  # an unknown diagnosis contradicts nothing
            first.setdefault(values[row], row)
    return ", ".join(f"{data.ids[row]} is {value}" for value, row in list(first.items())[:3])


def _values(values: npt.NDArray[Any]) -> int:
    import pandas as pd

    return int(pd.Series(values).nunique())


def _label_word(data: AuditData) -> npt.NDArray[np.object_]:
    words: Callable[[float], str] = lambda v: {1.0: "malignant", 0.0: "benign"}.get(v, "unknown")  # noqa: E731
    return np.array([words(value) for value in data.labels], object)


def _by_lesion(data: AuditData) -> Groups:
    """Return the rows of each lesion of a patient that several images show."""
    table = data.manifest.loc[data.manifest["lesion_id"].notna(), ["lesion_id", "patient_id"]]
    groups = table.fillna("").groupby(["lesion_id", "patient_id"], sort=False).groups.values()
    return [rows.to_numpy(np.int64) for rows in groups if len(rows) > 1]
