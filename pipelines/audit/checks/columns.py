"""Columns that give the answer away: by their name, and by what they do alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lesioncore.leaks import is_leaking
from pipelines.audit.check import Check, register
from pipelines.audit.finding import Finding, Level, Table, counted
from pipelines.audit.predictive import MOST_ROWS, Predictor, column_predictors, enough, sample_rows

if TYPE_CHECKING:
    from pipelines.audit.data import AuditData

#: A column whose AUC alone is at least this, with the low end of its interval: no one measurement
#: of a lesion tells that much (the best honest one of ISIC 2024, the hue of a lesion, has 0.82).
LEAK, SUSPECT = 0.95, 0.85
#: That a value is missing is no measurement at all, so less is suspect.
MISSING_SUSPECT = 0.75
#: Columns of a manifest that are the question, the answer or the way to the image.
_NOT_ASKED = frozenset(
    {
        "image_id",
        "image",
        "mask",
        "target",
        "diagnosis",
        "patient_id",
        "lesion_id",
        "source",
        "modality",
    }
)
_LISTED = 12


@register("columns")
class Columns(Check):
    """Measures each column alone against the label."""

    title = "Columns that give the answer away"
    place = 40

    def findings(self, data: AuditData) -> Iterator[Finding]:
        """Yield columns that leak by name, and each that leaks by measure."""
        # Hospital, camera and modality are shortcuts: see that check.
        elsewhere = _NOT_ASKED | {data.hospital, data.device}
        names = [str(column) for column in data.manifest if column not in elsewhere]
        named = [name for name in names if is_leaking(name)]
        yield Finding(
            "leaking-names", "note" if named else "ok",
            f"Columns that give the answer away by their name: {', '.join(named)}"
            if named else "No column has a name that gives the answer away",
            count=len(named), of=len(names), figures={"columns": named},
            why="training data alone have them, or they hold the label" if named else "",
            mend="our models never see them (docs/reference/manifest.md); let no other tool"
            if named else "",
        )  # fmt: skip
        rows = sample_rows(data.labels, seed=data.config.seed)
        labels, groups = data.labels[rows], data.groups[rows]
        too_few = enough(labels, groups)
        if too_few:
            yield Finding("leaking-column", "note", f"Columns were not measured: {too_few}")
            return
        measured: list[tuple[str, Predictor]] = []
        for name in names:
            values = data.manifest[name].iloc[rows]
            measured += [
                (name, one) for one in column_predictors(
                    values, labels, groups, resamples=data.config.resamples, seed=data.config.seed
                )
            ]  # fmt: skip
        measured.sort(key=lambda pair: -pair[1].auc.value)
        wrong = list(_wrong(data, measured))
        yield from wrong
        level: Level = "note" if wrong else "ok"
        drawn = len(rows) < int((data.labels >= 0).sum())
        yield Finding(
            "columns-measured", level,
            f"{counted(len({name for name, _ in measured}), 'column')} measured alone on "
            f"{counted(len(rows), 'labelled image')}"
            + (f" (at most {MOST_ROWS:,})" if drawn else "")
            + ("" if wrong else ": none tells too much"),
            of=len(names), table=_table(measured),
            figures={"auc": [_figure(name, one) for name, one in measured]},
        )  # fmt: skip


def level_of(one: Predictor) -> Level | None:
    """Return how bad a column is, None where it is not."""
    low = one.auc.low
    if low >= LEAK:
        return "error"
    return "warning" if low >= (MISSING_SUSPECT if one.kind == "missing" else SUSPECT) else None


def _wrong(data: AuditData, measured: list[tuple[str, Predictor]]) -> Iterator[Finding]:
    """Yield a finding for each column that tells too much; columns that lack their values in the
    same rows are one."""
    patterns: dict[bytes, list[str]] = {}
    for name, one in measured:
        if is_leaking(name) or level_of(one) is None:
            continue
        if one.kind == "missing":
            absent = np.packbits(data.manifest[name].isna().to_numpy()).tobytes()
            patterns.setdefault(absent, []).append(name)
            if patterns[absent][0] != name:
                continue
        yield _finding(name, one)
    for names in patterns.values():
        if len(names) > 1:
            yield Finding(
                "missing-together", "note",
                f"{', '.join(names)} are missing in the same rows", count=len(names),
                figures={"columns": names},
            )  # fmt: skip


def _finding(name: str, one: Predictor) -> Finding:
    level = level_of(one)
    assert level is not None
    auc = f"AUC {one.auc.value:.3f} [{one.auc.low:.3f}, {one.auc.high:.3f}]"
    if one.kind == "missing":
        more = "malignant" if one.rises else "benign"
        share = f"{one.missing:.0%}, more often of {more} lesions"
        said = f"Whether {name} is missing ({share}) alone has {auc}"
        why = "a model learns how the record was kept, which no other clinic shares"
        mend = f"leave {name} out, or fill it for all; a score without it is the honest one"
    else:
        said = f"{name} alone has {auc}"
        why = "no single measurement tells that much: it was likely written after the diagnosis"
        mend = f"find out when {name} is written; leave it out of models until that is known"
    return Finding(
        "leaking-column" if one.kind != "missing" else "leaking-missingness", level, said,
        about=name, count=one.n, why=why, mend=mend, figures=_figure(name, one),
    )  # fmt: skip


def _figure(name: str, one: Predictor) -> dict[str, object]:
    return {"column": name, "kind": one.kind, "auc": one.auc.to_dict(), "n": one.n,
            "positives": one.positives, "missing": round(one.missing, 4),
            "kept_from_models": is_leaking(name)}  # fmt: skip


def _table(measured: list[tuple[str, Predictor]]) -> Table:
    kinds = {"number": "its order", "category": "its categories", "missing": "being missing"}
    rows = [
        [name, kinds[one.kind], auc_text(one), f"{one.n:,}", f"{one.missing:.0%}",
         "kept from models by name" if is_leaking(name) else ""]
        for name, one in measured[:_LISTED]
    ]  # fmt: skip
    marked = [
        number for number, (name, one) in enumerate(measured[:_LISTED])
        if level_of(one) and not is_leaking(name)
    ]  # fmt: skip
    return Table(("column", "measured", "AUC alone", "n", "missing", ""), rows, marked)


def auc_text(one: Predictor) -> str:
    """Return the AUC as it is printed, with its interval where it has one."""
    if one.auc.low != one.auc.low:
        return f"{one.auc.value:.3f}"
    return f"{one.auc.value:.3f} [{one.auc.low:.3f}, {one.auc.high:.3f}]"
