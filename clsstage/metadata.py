"""Metadata as numbers: an encoder fitted on training rows only, plain enough to read as JSON.

A number becomes two inputs: its robust z-score (median and interquartile range, cut at 5) and
whether it is missing. A category becomes one input a value seen in training, one for any other
value, and one for missing. Missing is thus a state of its own, never a made-up value, and a new
category at prediction time does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clsstage.shortcuts import SHORTCUTS
from lesioncore.errors import LesionError, refuse_newer

if TYPE_CHECKING:
    import pandas as pd

CATEGORIES = ("sex", "site")
NUMBERS = ("age", "diameter_mm")
VERSION = 1
_LIMIT = 5.0  # z-scores beyond this say only "extreme"
_SIGMA_OF_IQR = 1.349  # interquartile range of a normal distribution of unit width


@dataclass(frozen=True)
class NumberField:
    """A numeric input: `name`, and the `centre` and `scale` of its z-score."""

    name: str
    centre: float
    scale: float

    @property
    def width(self) -> int:
        """How many inputs it makes."""
        return 2

    @property
    def inputs(self) -> list[str]:
        """The names of its inputs."""
        return [self.name, f"{self.name}=missing"]

    def encode(self, value: Any) -> list[float]:
        """Return (z-score, 0), or (0, 1) for a missing value."""
        number = _number(value)
        if number is None:
            return [0.0, 1.0]
        z = (number - self.centre) / self.scale
        return [float(np.clip(z, -_LIMIT, _LIMIT)), 0.0]


@dataclass(frozen=True)
class CategoryField:
    """A categorical input: `name` and the `values` seen in training."""

    name: str
    values: tuple[str, ...]

    @property
    def width(self) -> int:
        """How many inputs it makes."""
        return len(self.values) + 2

    @property
    def inputs(self) -> list[str]:
        """The names of its inputs."""
        return [f"{self.name}={value}" for value in (*self.values, "(other)", "missing")]

    def encode(self, value: Any) -> list[float]:
        """Return the one-hot code; the last two places are any other value, and missing."""
        code = [0.0] * self.width
        text = _text(value)
        if text is None:
            code[-1] = 1.0
        elif text in self.values:
            code[self.values.index(text)] = 1.0
        else:
            code[-2] = 1.0
        return code


Field = NumberField | CategoryField


@dataclass(frozen=True)
class MetadataEncoder:
    """Turns rows of a manifest into vectors; make one with `MetadataEncoder.fit`."""

    fields: tuple[Field, ...] = ()

    @classmethod
    def fit(
        cls, frame: pd.DataFrame, columns: Sequence[str] | str | None = "auto"
    ) -> MetadataEncoder:
        """Return the encoder of the training rows.

        Parameters
        ----------
        frame : DataFrame
            Rows of a manifest, training rows only.
        columns : "auto", "none", None, or column names
            auto: age, sex, site, diameter_mm and the source's own numeric columns, as far as
            the training rows have values that differ. Among names, "auto" stands for those.

        Raises
        ------
        LesionError
            A named column is absent, gives the answer away, or holds nothing to learn from.
        """
        names = column_names(frame, columns)
        return cls(tuple(_fit_field(name, frame[name]) for name in names))

    @property
    def width(self) -> int:
        """Length of a vector; 0 without metadata."""
        return sum(field.width for field in self.fields)

    @property
    def inputs(self) -> list[str]:
        """The name of every number of a vector, e.g. "age", "age=missing", "sex=female"."""
        return [name for field in self.fields for name in field.inputs]

    @property
    def columns(self) -> tuple[str, ...]:
        """The manifest columns that are used."""
        return tuple(field.name for field in self.fields)

    def transform(self, frame: pd.DataFrame) -> NDArray[np.float32]:
        """Return the vectors of all rows, (n, width) float32; an absent column is all missing."""
        codes = np.zeros((len(frame), self.width), np.float32)
        at = 0
        for field in self.fields:
            values = frame[field.name].tolist() if field.name in frame else [None] * len(frame)
            if values:
                codes[:, at : at + field.width] = [field.encode(value) for value in values]
            at += field.width
        return codes

    def transform_row(self, row: Mapping[str, Any]) -> NDArray[np.float32]:
        """Return the vector of one row, (width,) float32; absent keys and None are missing."""
        code = [x for field in self.fields for x in field.encode(row.get(field.name))]
        return np.asarray(code, np.float32)

    def is_number(self, name: str) -> bool:
        """Whether an input is made of the numbers of that column."""
        return any(isinstance(f, NumberField) and f.name == name for f in self.fields)

    def missing(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the inputs that this row lacks."""
        return tuple(f.name for f in self.fields if f.encode(row.get(f.name))[-1] == 1.0)

    def hide(
        self, code: NDArray[np.float32], probability: float, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Return a copy of one vector with each field made missing with this probability.

        Training hides some values so that the network learns what missing means even where the
        training rows are complete; one in five hidden categories becomes "(other)" instead.
        """
        result = code.copy()
        at = 0
        for field in self.fields:
            if rng.random() < probability:
                result[at : at + field.width] = 0.0
                other = isinstance(field, CategoryField) and rng.random() < 0.2
                result[at + field.width - (2 if other else 1)] = 1.0
            at += field.width
        return result

    def hidden(self) -> NDArray[np.float32]:
        """Return the vector of a row of which nothing is known, (width,) float32."""
        return self.transform_row({})

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `from_dict` reads back."""
        numbers = [f for f in self.fields if isinstance(f, NumberField)]
        return {
            "version": VERSION,
            "order": [f.name for f in self.fields],
            "numbers": {f.name: {"centre": f.centre, "scale": f.scale} for f in numbers},
            "categories": {
                f.name: list(f.values) for f in self.fields if isinstance(f, CategoryField)
            },
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MetadataEncoder:
        """Return the encoder that `to_dict` described; a later version is a `LesionError`."""
        refuse_newer("the metadata encoder is of version", values.get("version", VERSION), VERSION)
        fields: list[Field] = []
        for name in values.get("order", []):
            if name in values["numbers"]:
                number = values["numbers"][name]
                fields.append(NumberField(name, float(number["centre"]), float(number["scale"])))
            else:
                fields.append(CategoryField(name, tuple(values["categories"][name])))
        return cls(tuple(fields))


def column_names(frame: pd.DataFrame, columns: Sequence[str] | str | None) -> list[str]:
    """Return the manifest columns that `columns` names; see `MetadataEncoder.fit`."""
    from lesioncore.leaks import is_leaking, model_columns

    asked = _asked(columns)
    names: list[str] = []
    for name in asked:
        if name == "auto":
            own = [c for c in model_columns(frame) if c not in SHORTCUTS]
            known = [*NUMBERS[:1], *CATEGORIES, *NUMBERS[1:], *own]
            found = [c for c in known if c in frame and frame[c].nunique(dropna=True) > 1]
            names += [c for c in found if c not in names]
            continue
        if is_leaking(name):
            raise LesionError(
                f"the column {name!r} gives the answer away",
                wanted="columns that are known before the diagnosis",
                mend=f"leave {name} out of --metadata",
            )
        if name not in frame:
            raise LesionError(
                f"no metadata column {name!r}",
                wanted=f"some of: {', '.join(column_names(frame, 'auto'))}",
                mend="--metadata auto, or none",
            )
        if not frame[name].notna().any():
            raise LesionError(
                f"the metadata column {name!r} is empty in all {len(frame)} training rows",
                mend=f"leave {name} out of --metadata",
            )
        if name not in names:
            names.append(name)
    return names


def _asked(columns: Sequence[str] | str | None) -> list[str]:
    given = [] if columns is None else [columns] if isinstance(columns, str) else columns
    words = [word for text in given for word in text.split(",")]
    return [word.strip() for word in words if word.strip() and word.strip() != "none"]


def _fit_field(name: str, values: pd.Series) -> Field:
    numeric = name not in CATEGORIES and values.dtype.kind in "biuf"
    if not numeric:
        return CategoryField(name, tuple(sorted({str(v) for v in values.dropna()})))
    present = values.dropna().to_numpy(np.float64)
    present = present[np.isfinite(present)]
    low, centre, high = np.percentile(present, [25, 50, 75]) if present.size else (0.0, 0.0, 0.0)
    scale = (high - low) / _SIGMA_OF_IQR
    if scale <= 0:  # more than half of the rows share one value
        scale = float(present.std()) if present.size else 1.0
    return NumberField(name, float(centre), float(scale) or 1.0)


def _number(value: Any) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None  # pandas' NA, or text where a number belongs
    return number if np.isfinite(number) else None


def _text(value: Any) -> str | None:
    if value is None or value != value:  # NaN differs from itself
        return None
    text = str(value)
    return text if text and text not in ("<NA>", "nan", "None") else None
