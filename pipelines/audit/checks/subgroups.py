"""For whom the model is worse: scores by sex, age, site, skin tone, archive and hospital."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lesioncore.colour import SKIN_TONES, individual_typology_angle, skin_tone
from lesioncore.metrics import Interval
from pipelines.audit.background import ITA
from pipelines.audit.check import Check, register
from pipelines.audit.finding import Finding, Table, counted
from pipelines.audit.predictive import enough, sample_rows
from pipelines.audit.subgroup_scores import Row, Scorer
from pipelines.subgroups import MINIMUM, MINIMUM_CLASS, UNKNOWN, age_band

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.audit.data import AuditData

# Parts of a split whose scores are of memory.
_LEARNED_FROM = ("training", "train")
_MORE = 12  # subgroups of a partition that are shown; the rest have the fewest images


@register("subgroups")
class Subgroups(Check):
    """Scores the predictions by subgroup."""

    title = "For whom the model is worse"
    place = 70

    def findings(self, data: AuditData) -> Iterator[Finding]:
        """Yield each subgroup that is far from the others, and the table of all."""
        if data.scores is None:
            yield Finding("subgroups", "note", "No predictions were given: nothing to score",
                          mend="`--predictions FILE`")  # fmt: skip
            return
        usable = ~np.isnan(data.scores) & ~np.isnan(data.labels)
        if data.parts is not None:
            learned = data.parts.isin(_LEARNED_FROM).to_numpy() & usable
            if learned.any() and (usable & ~learned).any():
                usable &= ~learned
                yield Finding(
                    "scores-of-training-images", "note",
                    f"Left out: {counted(int(learned.sum()), 'score')} of images that were learned "
                    "from", count=int(learned.sum()),
                )  # fmt: skip
        if data.unmatched:
            yield Finding("scores-of-other-images", "note",
                          f"{counted(data.unmatched, 'score')} of images that are not here",
                          count=data.unmatched)  # fmt: skip
        too_few = enough(data.labels[usable], data.groups[usable])
        if too_few:
            yield Finding("subgroups", "note", f"Nothing was scored: {too_few}")
            return
        rows = subgroup_rows(data, usable)
        yield from _gaps(rows)
        far = sum(bool(row.far) for row in rows)
        compared = sum(row.auc is not None for row in rows)
        yield Finding(
            "subgroups", "note" if far else "ok",
            f"{compared} of {len(rows)} subgroups have enough images to say anything"
            + ("" if far else "; none is far from the others"),
            of=len(rows), table=_table(rows, data.config.threshold),
            figures={"subgroups": [_figure(row) for row in rows],
                     "threshold": data.config.threshold},
            why=f"no claim is made below {MINIMUM} images, or {MINIMUM_CLASS} cases of a class",
        )  # fmt: skip


def subgroup_rows(data: AuditData, usable: npt.NDArray[np.bool_]) -> list[Row]:
    """Return the scores of all subgroups of the usable rows, first those of all images."""
    assert data.scores is not None
    rows = np.flatnonzero(usable)
    taken = rows[sample_rows(data.labels[rows], seed=data.config.seed)]
    scorer = Scorer(data, taken)
    found = [scorer.row("All", "all images", rows, np.ones(len(taken), bool), 0)]
    cells = []
    for partition, values in partitions(data).items():
        counts = values.iloc[rows].value_counts()
        if len(counts) < 2:
            continue
        for name in _in_order(partition, counts)[:_MORE]:
            cells.append((partition, str(name), (values == name).to_numpy()))
    for partition, name, inside in cells:
        found.append(scorer.row(partition, name, rows[inside[rows]], inside[taken], len(cells)))
    return found


def partitions(data: AuditData) -> dict[str, pd.Series[Any]]:
    """Return what the images are divided by: title to the value of each row, "unknown" where
    missing."""
    table = data.manifest
    columns: dict[str, Any] = {
        "Sex": table["sex"], "Age in years": age_band(table["age"]), "Site": table["site"],
    }  # fmt: skip
    tones = skin_tones(data)
    if tones is not None:
        columns["Skin tone (ITA)"] = tones
    columns["Modality"], columns["Archive"] = table["modality"], table["source"]
    if data.hospital:
        more = f" ({data.hospital})" if data.hospital != "hospital" else ""
        columns[f"Hospital{more}"] = table[data.hospital]
    return {
        title: values.astype(object).where(values.notna(), UNKNOWN)
        for title, values in columns.items()
    }


def skin_tones(data: AuditData) -> pd.Series[Any] | None:
    """Return the class of the skin's typology angle of each row, null where unknown.

    From `tbp_lv_Lext` and `tbp_lv_Bext` where the archive has them, else from the measurements of
    the mask cache, else from the ring around each mask that was looked at.
    """
    import pandas as pd

    table = data.manifest
    angles: pd.Series[Any] = pd.Series(np.nan, index=table.index)
    if {"tbp_lv_Lext", "tbp_lv_Bext"} <= {*table.columns}:
        both = table[["tbp_lv_Lext", "tbp_lv_Bext"]].to_numpy(np.float64)
        angles[:] = [individual_typology_angle((l, 0, b)) for l, b in both]  # noqa: E741
    if data.cache is not None and angles.isna().any():
        from lesioncore.cache.measured import measured_counts, read_measurements

        if measured_counts(data.cache) is not None:
            known = read_measurements(data.cache.folder).set_index("image_id")["ita_deg"]
            angles = angles.fillna(pd.Series(known.reindex(data.ids).to_numpy(), table.index))
    if angles.isna().any() and data.outside is not None:
        angles = angles.fillna(data.outside[ITA].reindex(table.index))
    return None if angles.isna().all() else angles.map(skin_tone).astype(object)


def _in_order(partition: str, counts: pd.Series) -> list[Any]:
    """Return the names of a partition: tones and ages by themselves, others by size."""
    names = [name for name in counts.index if name != UNKNOWN]
    if partition.startswith("Skin"):
        names = [name for _, name in SKIN_TONES if name in names]
    elif partition.startswith("Age"):
        names = sorted(names, key=lambda name: (name != "under 30", name))
    return names + ([UNKNOWN] if UNKNOWN in counts.index else [])


def _gaps(rows: list[Row]) -> Iterator[Finding]:
    for row in rows:
        for what, gap, value in (
            ("AUC", row.auc_gap, row.auc), ("sensitivity", row.found_gap, row.found),
        ):  # fmt: skip
            if what not in row.far or gap is None or value is None:
                continue
            worse = gap.value < 0
            yield Finding(
                "subgroup-gap", "warning" if worse else "note",
                f"{row.partition}, {row.name}: {what} {value.value:.3f} "
                f"[{value.low:.3f}, {value.high:.3f}], {abs(gap.value):.3f} "
                f"{'below' if worse else 'above'} the others "
                f"[{gap.low:+.3f}, {gap.high:+.3f}] (n = {row.n:,}, {row.positives:,} malignant)",
                about=f"{row.partition}={row.name}/{what}", count=row.n,
                why="the score of all images is not theirs" if worse else "",
                mend="say so where the model is described, and look for more such images" if worse
                else "", figures=_figure(row),
            )  # fmt: skip


def _figure(row: Row) -> dict[str, Any]:
    intervals = {
        "auc": row.auc, "auc_gap": row.auc_gap, "sensitivity": row.found,
        "sensitivity_gap": row.found_gap,
    }  # fmt: skip
    return {
        "by": row.partition, "name": row.name, "n": row.n, "positives": row.positives,
        **{key: one.to_dict() for key, one in intervals.items() if one is not None},
        "far": list(row.far), **({"why": row.why} if row.why else {}),
    }  # fmt: skip


def _table(rows: list[Row], threshold: float | None) -> Table:
    def text(one: Interval | None, sign: str = "") -> str:
        return (
            ""
            if one is None
            else f"{one.value:{sign}.3f} [{one.low:{sign}.2f}, {one.high:{sign}.2f}]"
        )

    columns = ["", "subgroup", "n", "malignant", "AUC", "minus the others"]
    if threshold is not None:
        columns += [f"sensitivity at {threshold:g}", "minus the others"]
    cells, before = [], ""
    for row in rows:
        line = [row.partition if row.partition != before else "", row.name, f"{row.n:,}",
                f"{row.positives:,}", text(row.auc) or row.why, text(row.auc_gap, "+")]  # fmt: skip
        if threshold is not None:
            line += [text(row.found), text(row.found_gap, "+")]
        cells.append(line)
        before = row.partition
    return Table(columns, cells, [number for number, row in enumerate(rows) if row.far])
