"""What tells the label without a look at the lesion: background, hospital, camera, size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lesioncore.metrics import bootstrap, roc_auc
from pipelines.audit.background import FEATURES
from pipelines.audit.check import Check, register
from pipelines.audit.finding import Finding, Level, Table, counted
from pipelines.audit.outside import background_scores
from pipelines.audit.predictive import (
    Predictor,
    category_predictor,
    enough,
    number_predictor,
    sample_rows,
)

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.audit.data import AuditData

#: Low end of the interval of an AUC without the lesion.
SHORTCUT, LARGE_SHORTCUT = 0.70, 0.90
_WHY = {
    "background": "a network can tell malignant from benign without a look at the lesion, and will",
    "hospital": "prevalence differs by hospital, and so do cameras: a model learns to tell "
    "hospitals apart",
    "device": "a model learns to tell cameras apart",
    "source": "a model learns to tell archives apart",
    "modality": "malignant and benign lesions were photographed in different ways",
    "image-size": "files were prepared differently by class; networks see the trace of a resize",
    "file-size": "files were saved differently by class: quality and source show in the pixels",
    "patient-images": "how often a patient was photographed follows the suspicion",
    "id-number": "ids were given in an order that follows the label; no input may hold them",
}
_MEND = {
    "background": "score with `--focus lesion_only` and `--focus background_only` beside the "
    "usual, and test on another archive",
    "hospital": "test on hospitals that were left out (`--leave-out hospital`)",
    "source": "test on archives that were left out (`--leave-out source`)",
    "image-size": "prepare all images alike, and test on another archive",
    "file-size": "prepare all images alike, and test on another archive",
    "patient-images": "keep the count out of the metadata (it is, unless asked for by name)",
    "id-number": "keep ids out of every model",
}


@register("shortcuts")
class Shortcuts(Check):
    """Measures what can be known without the lesion against the label."""

    title = "Shortcuts past the lesion"
    place = 50

    def findings(self, data: AuditData) -> Iterator[Finding]:
        """Yield each shortcut that tells too much, and a table of all that were measured."""
        rows = sample_rows(data.labels, seed=data.config.seed)
        too_few = enough(data.labels[rows], data.groups[rows])
        if too_few:
            yield Finding("shortcut", "note", f"Shortcuts were not measured: {too_few}")
            return
        measured = [*_measured(data, rows)]
        background = _background(data)
        if isinstance(background, str):
            yield Finding("shortcut", "note", f"The background was not measured: {background}",
                          about="background", mend="`--masks CACHE`")  # fmt: skip
        else:
            measured.append(("background", background))
        measured.sort(key=lambda pair: -pair[1].auc.value)
        for name, one in measured:
            level = level_of(one)
            if level is not None:
                words = _words(data, name)
                yield Finding(
                    "shortcut", level,
                    f"{words[0].upper()}{words[1:]} alone has AUC {one.auc.value:.3f} "
                    f"[{one.auc.low:.3f}, {one.auc.high:.3f}]",
                    about=name, count=one.n, why=_WHY[name],
                    mend=_MEND.get(name, "test where all were photographed alike"),
                    figures=_figure(name, one),
                )  # fmt: skip
        none = all(level_of(one) is None for _, one in measured)
        yield Finding(
            "shortcuts-measured", "ok" if none else "note",
            f"{counted(len(measured), 'shortcut')} measured"
            + (": none tells much" if none else ""),
            table=_table(data, measured), figures={"auc": [_figure(*pair) for pair in measured]},
        )  # fmt: skip


def level_of(one: Predictor) -> Level | None:
    """Return how bad a shortcut is, None where it is not."""
    low = one.auc.low
    return "error" if low >= LARGE_SHORTCUT else "warning" if low >= SHORTCUT else None


def _measured(data: AuditData, rows: npt.NDArray[np.int64]) -> Iterator[tuple[str, Predictor]]:
    """Yield each shortcut that there is; of several measures of one, what tells the most."""
    labels, groups = data.labels[rows], data.groups[rows]
    options: dict[str, int] = {"resamples": data.config.resamples, "seed": data.config.seed}
    for name, measures in _columns(data).items():
        found = []
        for values in measures:
            one = values.iloc[rows]
            if one.dtype.kind in "fiub":
                numbers = one.to_numpy(np.float64, na_value=np.nan)
                found.append(number_predictor(numbers, labels, groups, **options))
            else:
                found.append(category_predictor(one, labels, groups, **options))
        best = [one for one in found if one is not None]
        if best:
            yield name, max(best, key=lambda one: one.auc.value)


def _columns(data: AuditData) -> dict[str, list[pd.Series]]:
    """Return what is measured of each shortcut, as far as it varies."""
    import pandas as pd

    from clsstage.shortcuts import with_shortcuts

    table = data.manifest
    columns: dict[str, list[pd.Series]] = {}
    if data.hospital:
        columns["hospital"] = [
            table[data.hospital].astype("str").where(table[data.hospital].notna())
        ]
    devices = [table[data.device].astype("str")] if data.device else []
    digits = table["image_id"].astype(str).map(_number_in)
    columns["id-number"] = [pd.to_numeric(digits)]
    for name in ("source", "modality"):
        columns[name] = [table[name].astype(object)]
    images = with_shortcuts(table, ["n_images"])["n_images"]
    columns["patient-images"] = [images.astype("float64")]
    looks = data.looks
    if looks is not None:
        size = looks["width"].astype(object).astype(str) + "x" + looks["height"].astype(str)
        pixels = pd.to_numeric(looks["width"]) * pd.to_numeric(looks["height"])
        columns["image-size"] = [size.where(looks["seen"]), pixels.astype("float64")]
        columns["file-size"] = [pd.to_numeric(looks["bytes"]).astype("float64")]
        devices.append(looks["camera"].where(looks["camera"] != ""))
    columns["device"] = [one for one in devices if one.nunique() > 1]
    return {
        name: kept for name, measures in columns.items()
        if (kept := [one for one in measures if one.nunique() > 1])
    }  # fmt: skip


def _number_in(image_id: str) -> float:
    found = re.findall(r"\d+", image_id)
    return float(found[-1][-15:]) if found else float("nan")


def _background(data: AuditData) -> Predictor | str:
    """Return what the background tells, or why that is not known."""
    figures = data.outside
    if figures is None:
        return "no image has a mask" if data.config.images else "no image was looked at"
    figures = figures[figures[list(FEATURES)].notna().any(axis=1)]
    rows = figures.index.to_numpy()
    labels, groups = data.labels[rows], data.groups[rows]
    too_few = enough(labels, groups)
    if too_few:
        return f"{too_few} (with a background)"
    scores = background_scores(figures[list(FEATURES)], labels, groups, data.config.seed)
    auc = bootstrap(
        roc_auc, labels, scores, groups=groups, n=data.config.resamples, seed=data.config.seed
    )
    return Predictor("number", auc, len(labels), int(labels.sum()), 0.0)


def _words(data: AuditData, name: str) -> str:
    column = {"hospital": data.hospital, "device": data.device}.get(name)
    words = {
        "background": "the background (lesion and border left out)",
        "image-size": "the size of the image", "file-size": "the size of the file",
        "patient-images": "the number of images of the patient",
        "id-number": "the number in the id",
        "source": "the archive", "modality": "the modality",
        "device": f"the camera ({column or 'EXIF'})",
        "hospital": "the hospital" + (f" ({column})" if column != "hospital" else ""),
    }  # fmt: skip
    return words[name]


def _figure(name: str, one: Predictor) -> dict[str, Any]:
    return {"shortcut": name, "auc": one.auc.to_dict(), "n": one.n, "positives": one.positives}


def _table(data: AuditData, measured: list[tuple[str, Predictor]]) -> Table:
    from pipelines.audit.checks.columns import auc_text

    rows = [
        [_words(data, name), auc_text(one), f"{one.n:,}", f"{one.positives:,}"]
        for name, one in measured
    ]
    marked = [number for number, (_, one) in enumerate(measured) if level_of(one)]
    return Table(("what is known without the lesion", "AUC alone", "n", "malignant"), rows, marked)
