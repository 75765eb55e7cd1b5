"""Patients, lesions and images that lie in several parts of a split."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from pipelines.audit.check import Check, register
from pipelines.audit.finding import Finding, counted

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.audit.data import AuditData

_WHY = {
    "patient": "a model that has seen a patient's skin and camera knows it again: the score is of "
    "memory",
    "lesion": "another photograph of a lesion that was learned from is no test",
}
_MEND = "split by groups: `clsstage train` does, and refuses a split that does not"


@register("overlap")
class Overlap(Check):
    """Looks for patients and lesions on both sides of a split."""

    title = "Patients and lesions across the split"
    place = 10

    def findings(self, data: AuditData) -> Iterator[Finding]:
        """Yield one finding a kind of group, and what ids and split themselves get wrong."""
        yield from _lesions_of_several_patients(data)
        if data.split is None or data.parts is None:
            yield Finding(
                "split", "note", "No split was given: nothing can lie on both sides of it",
                mend="`--split FILE` or `--run RUN`",
            )  # fmt: skip
            return
        parts = data.parts
        yield from _of_the_file(data, parts)
        for kind in ("patient", "lesion"):
            yield _overlap(data, parts, kind)


def _lesions_of_several_patients(data: AuditData) -> Iterator[Finding]:
    table = data.manifest[["lesion_id", "patient_id"]].dropna()
    pairs = table.drop_duplicates()
    shared = pairs.loc[pairs["lesion_id"].duplicated(), "lesion_id"].unique()
    if not len(shared):
        return
    first = table[table["lesion_id"].isin(shared)].drop_duplicates()
    groups = first.groupby("lesion_id", sort=False).groups.values()
    shown = [data.named(rows.to_numpy(np.int64)) for rows in groups]
    yield Finding(
        "lesions-of-several-patients", "warning",
        f"{len(shared):,} of {counted(table['lesion_id'].nunique(), 'lesion')} belong to several "
        "patients",
        count=len(shared), of=table["lesion_id"].nunique(), examples=shown,
        why="either lesions are numbered anew for each patient, or one person has two ids and can "
        "lie on both sides of a split by patient",
        mend="look which it is; groups by patient and lesion keep all of them in one part",
    )  # fmt: skip


def _of_the_file(data: AuditData, parts: pd.Series) -> Iterator[Finding]:
    assert data.split is not None
    counts = parts.value_counts()
    sizes = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    yield Finding("split", "ok", f"{data.split.path.name}: {sizes}",
                  figures={"parts": counts.to_dict()})  # fmt: skip
    if data.split.torn:
        torn = data.split.torn
        yield Finding(
            "image-in-several-parts", "error",
            f"{counted(len(torn), 'image')} in several parts of the split",
            count=len(torn), examples=[[name] for name in torn],
            why="they are learned from and tested on", mend="keep one row of each image",
        )  # fmt: skip
    lost = data.ids[parts.isna().to_numpy() & ~np.isin(data.ids, data.split.of.index.astype(str))]
    if len(lost):
        yield Finding(
            "split-lacks-images", "note",
            f"{len(lost):,} of {counted(len(parts), 'image')} in no row of the split",
            count=len(lost), of=len(parts), examples=[[str(name)] for name in lost],
        )  # fmt: skip


def _overlap(data: AuditData, parts: pd.Series, kind: str) -> Finding:
    import pandas as pd

    name, column = f"{kind}-overlap", f"{kind}_id"
    table = pd.DataFrame({
        "row": np.arange(len(parts)), "key": data.manifest[column].to_numpy(object), "part": parts,
    }).dropna()  # fmt: skip
    if table.empty:
        return Finding(
            name, "note", f"No image has a {kind}: whether one lies on both sides is unknown",
            mend=f"a column {column}" + ("; duplicates are looked for all the same"
                                         if kind == "patient" else ""),
        )  # fmt: skip
    places = table.drop_duplicates(["key", "part"])
    torn = places.loc[places["key"].duplicated(), "key"].unique()
    count = table["key"].nunique()
    if not len(torn):
        return Finding(name, "ok", f"Each of {counted(count, kind)} is in one part", of=count)
    inside = table[table["key"].isin(torn)]
    # One image of each part tells enough of a patient.
    first = inside.drop_duplicates(["key", "part"]).groupby("key", sort=False)["row"]
    shown = [data.named(rows.to_numpy()) for _, rows in first]
    pairs = inside.drop_duplicates(["key", "part"]).groupby("key")["part"]
    between = pairs.agg(lambda names: " and ".join(sorted(map(str, names)))).value_counts()
    told = "; ".join(f"{n:,} in {where}" for where, n in between.head(4).items())
    return Finding(
        name, "error",
        f"{len(torn):,} of {counted(count, kind)} in several parts of the split, with "
        f"{counted(len(inside), 'image')} ({told})",
        count=len(torn), of=count, examples=shown, why=_WHY[kind], mend=_MEND,
        figures={"images": len(inside), "between": between.to_dict(),
                 "groups": [str(key) for key in torn[:100]]},
    )  # fmt: skip
