"""All features of a table, patient by patient in blocks, so that a row costs the same in any table.

What is learned from labels (the rates of categories, `encoding`) is not here: these features look
at no label and at no other patient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clsstage.shortcuts import SHORTCUTS
from lesioncore.leaks import model_columns
from pipelines.stack.features.formulas import FORMULAS, Formula
from pipelines.stack.features.outliers import outlier_factors
from pipelines.stack.features.patients import (
    OUTLIER_COLUMNS,
    RANKED_COLUMNS,
    RELATIVE_COLUMNS,
    Array,
    Patients,
    mean_and_deviation,
    ranks,
    ratios,
    z_scores,
)

if TYPE_CHECKING:
    import pandas as pd

#: Families that need no label; `--without` takes them, and `encoding`.
FAMILIES = (
    "metadata", "geometry", "border", "colour", "position", "masks", "patient", "outlier", "scores",
)  # fmt: skip
#: Put before the names of scores and of measurements of masks.
SCORE, MASK = "score_", "mask_"
#: What `score_*` columns are compared by within the patient.
SCORE_RELATIVES = ("patient_z", "patient_rank", "patient_ratio", "patient_gap")
#: Rows of a block: its columns stay in the cache, whatever the table's size.
_BLOCK = 4096
_CORE = ("age", "diameter_mm")


@dataclass(frozen=True)
class FeatureTable:
    """Features by name.

    Attributes
    ----------
    names : tuple of str
    families : tuple of str
        Of each feature.
    values : (n, F) float32
        In the order of the rows; NaN where not known.
    """

    names: tuple[str, ...]
    families: tuple[str, ...]
    values: NDArray[np.float32]


def patient_codes(rows: pd.DataFrame) -> NDArray[np.int64]:
    """Return a number for the patient of each row; rows without one are patients of their own."""
    import pandas as pd

    known = rows["patient_id"] if "patient_id" in rows else pd.Series([None] * len(rows))
    codes = pd.factorize(known)[0].astype(np.int64)
    alone = np.flatnonzero(codes < 0)
    codes[alone] = codes.max(initial=-1) + 1 + np.arange(len(alone))
    return codes


def make_features(rows: pd.DataFrame, without: Sequence[str] = ()) -> FeatureTable:
    """Return the features of a table.

    Parameters
    ----------
    rows : DataFrame
        A manifest, with measurements as `mask_*` and image scores as `score_*` where there are any.
        All lesions of a patient that are known: they are what each is compared with.
    without : sequence of str
        Families to leave out.

    Returns
    -------
    FeatureTable
        The features whose columns the table has.
    """
    plan = _Plan.of(rows, without)
    codes = patient_codes(rows)
    order = np.argsort(codes, kind="stable")
    columns = {name: rows[name].to_numpy(np.float64, na_value=np.nan) for name in plan.sources}
    columns |= plan.derived(rows)
    values = np.empty((len(rows), len(plan.names)), np.float32)
    for part in _blocks(codes[order]):
        chosen = order[part]
        block = {name: column[chosen] for name, column in columns.items()}
        found = plan.block(block, Patients.of(codes[chosen]))
        found[~np.isfinite(found)] = np.nan
        values[chosen] = found
    return FeatureTable(plan.names, plan.families, values)


def score_columns(rows: pd.DataFrame) -> list[str]:
    """Return the columns that hold image scores."""
    return [str(name) for name in rows if str(name).startswith(SCORE)]


def metadata_columns(rows: pd.DataFrame) -> list[str]:
    """Return the numbers of the manifest itself that a model may see."""
    own = [n for n in model_columns(rows) if not n.startswith((SCORE, MASK)) and n not in SHORTCUTS]
    return [name for name in (*_CORE, *own) if name in rows]


@dataclass(frozen=True)
class _Plan:
    """Which features a table gives, in their order, and the columns they need."""

    kept: tuple[str, ...]
    male: bool
    formulas: tuple[Formula, ...]
    relative: tuple[str, ...]
    scores: tuple[str, ...]
    outlier: tuple[str, ...]
    sources: tuple[str, ...]

    @classmethod
    def of(cls, rows: pd.DataFrame, without: Sequence[str]) -> _Plan:
        masks = [str(name) for name in rows if str(name).startswith(MASK)]
        scores = score_columns(rows)
        own = metadata_columns(rows)
        there = {*own, *([] if "masks" in without else masks)}
        kept = [] if "metadata" in without else own
        kept += [] if "masks" in without else masks
        kept += [] if "scores" in without else scores
        formulas = [f for f in FORMULAS if f.family not in without and there.issuperset(f.sources)]
        relative = [name for name, _ in RELATIVE_COLUMNS if name in there]
        outlier = [name for name in OUTLIER_COLUMNS if name in there]
        relative = [] if "patient" in without else relative
        outlier = [] if "outlier" in without else outlier
        compared = [] if {"scores", "patient"} & set(without) else scores
        used = [*kept, *relative, *outlier, *compared]
        used += [name for formula in formulas for name in formula.sources]
        return cls(
            kept=tuple(kept),
            male="sex" in rows and "metadata" not in without,
            formulas=tuple(formulas),
            relative=tuple(relative),
            scores=tuple(compared),
            outlier=tuple(outlier),
            sources=tuple(dict.fromkeys(used)),
        )

    @property
    def _described(self) -> Iterator[tuple[str, str]]:
        if self.male:
            yield "male", "metadata"
        for name in self.kept:
            family = "scores" if name.startswith(SCORE) else "metadata"
            yield name, "masks" if name.startswith(MASK) else family
        for formula in self.formulas:
            yield formula.name, formula.family
        for name in self.relative:
            yield f"{name}_patient_z", "patient"
        for name in self._with_ratio:
            yield f"{name}_patient_ratio", "patient"
        for name in self._with_rank:
            yield f"{name}_patient_rank", "patient"
        if self.outlier:
            yield "patient_outlier", "outlier"
        for name in self.scores:
            for ending in SCORE_RELATIVES:
                yield f"{name}_{ending}", "scores"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self._described)

    @property
    def families(self) -> tuple[str, ...]:
        return tuple(family for _, family in self._described)

    @property
    def _with_ratio(self) -> tuple[str, ...]:
        wanted = dict(RELATIVE_COLUMNS)
        return tuple(name for name in self.relative if wanted[name])

    @property
    def _with_rank(self) -> tuple[str, ...]:
        return tuple(name for name in self.relative if name in RANKED_COLUMNS)

    def derived(self, rows: pd.DataFrame) -> Mapping[str, Array]:
        """Return the columns that are no numbers in the manifest."""
        if not self.male:
            return {}
        sex = rows["sex"].map({"male": 1.0, "female": 0.0})
        return {"male": np.asarray(sex, np.float64)}

    def block(self, columns: Mapping[str, Array], patients: Patients) -> Array:
        """Return the features of a block of whole patients, (n, F)."""
        parts: list[Any] = [columns["male"]] if self.male else []
        parts += [columns[name] for name in self.kept]
        parts += [formula(columns) for formula in self.formulas]
        parts += self._relatives(columns, patients)
        if self.outlier:
            points = np.stack([columns[name] for name in self.outlier], axis=1)
            scaled = z_scores(points, *mean_and_deviation(points, patients), patients)
            parts.append(outlier_factors(scaled, patients))
        for name in self.scores:
            parts += _score_relatives(columns[name], patients)
        return np.stack([np.asarray(part, np.float64) for part in parts], axis=1)

    def _relatives(self, columns: Mapping[str, Array], patients: Patients) -> list[Array]:
        if not self.relative:
            return []
        values = np.stack([columns[name] for name in self.relative], axis=1)
        mean, deviation = mean_and_deviation(values, patients)
        place = [self.relative.index(name) for name in self._with_ratio]
        return [
            *z_scores(values, mean, deviation, patients).T,
            *ratios(values[:, place], mean[:, place], patients).T,
            *(ranks(columns[name], patients) for name in self._with_rank),
        ]


def _score_relatives(scores: Array, patients: Patients) -> list[Array]:
    """Return SCORE_RELATIVES: a score against those of the patient's other lesions."""
    values = scores[:, None]
    mean, deviation = mean_and_deviation(values, patients)
    return [
        z_scores(values, mean, deviation, patients)[:, 0],
        ranks(scores, patients),
        ratios(values, mean, patients)[:, 0],
        (values - patients.spread(mean))[:, 0],
    ]


def _blocks(codes: NDArray[np.int64]) -> Iterator[slice]:
    """Yield runs of whole patients, about `_BLOCK` rows each (a patient is never divided)."""
    patients = Patients.of(codes)
    ends = patients.starts + patients.sizes
    begin = 0
    for end, following in zip(ends.tolist(), [*ends[1:].tolist(), len(codes) + 1], strict=True):
        if following - begin > _BLOCK or end == len(codes):
            yield slice(begin, end)
            begin = end
