"""The manifest: one row an image, checked by a schema, the same for every archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lesioncore.errors import LesionError
from lesioncore.files import PathLike, read_table, write_table

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pa

#: Columns that every manifest has, in this order. See docs/reference/manifest.md.
CORE_COLUMNS = (
    "image_id",
    "source",
    "image",
    "mask",
    "patient_id",
    "lesion_id",
    "target",
    "diagnosis",
    "age",
    "sex",
    "site",
    "modality",
    "diameter_mm",
)
NUMBER_COLUMNS = ("target", "age", "diameter_mm")
TEXT_COLUMNS = tuple(column for column in CORE_COLUMNS if column not in NUMBER_COLUMNS)
REQUIRED_COLUMNS = ("image_id", "image")
MODALITIES = ("dermoscopy", "clinical", "tile")


def manifest_schema() -> pa.DataFrameSchema:
    """Return the pandera schema of a manifest; `check_manifest` coerces first, then applies it."""
    import pandera.pandas as pa

    from lesioncore.diagnoses import disease_names
    from lesioncore.sites import SEXES, SITES

    def text(*allowed: str, nullable: bool = True, **options: Any) -> pa.Column:
        checks = [pa.Check.isin(allowed)] if allowed else []
        return pa.Column(None, checks, nullable=nullable, **options)

    def number(*checks: pa.Check) -> pa.Column:
        return pa.Column("float64", list(checks), nullable=True)

    return pa.DataFrameSchema(
        {
            "image_id": text(nullable=False, unique=True),
            "source": text(),
            "image": text(),
            "mask": text(),
            "patient_id": text(),
            "lesion_id": text(),
            "target": number(pa.Check.isin([0.0, 1.0])),
            "diagnosis": text(*disease_names()),
            "age": number(pa.Check.in_range(0, 120)),
            "sex": text(*SEXES),
            "site": text(*SITES),
            "modality": text(*MODALITIES),
            "diameter_mm": number(pa.Check.in_range(0, 1000)),
        },
        strict=False,  # the source's own columns follow under their own names
        name="manifest",
    )


def check_manifest(frame: pd.DataFrame, name: str = "manifest") -> pd.DataFrame:
    """Return `frame` as a manifest: all core columns, right types, core first and leaks last.

    Missing optional columns are added as null. Text is the pandas string type with NaN where it is
    missing (an empty text is missing); numbers are float64 with NaN.

    Parameters
    ----------
    frame : DataFrame
        At least the columns `image_id` and `image`.
    name : str
        What errors call it: the file or the archive.

    Raises
    ------
    LesionError
        It is empty, a column is missing, an id is missing or twice there, or a value is outside
        what the column may hold. The error names the column, the rows and what was wanted.
    """
    import pandas as pd

    missing = [column for column in REQUIRED_COLUMNS if column not in frame.columns]
    if missing:
        raise LesionError(
            f"{name}: no column {' and no column '.join(map(repr, missing))}; "
            f"it has: {', '.join(map(str, frame.columns)) or 'none'}",
            wanted=f"the columns {', '.join(REQUIRED_COLUMNS)}",
            mend="name the file's columns with --columns (docs/reference/manifest.md)",
        )
    if not len(frame):
        raise LesionError(
            f"{name}: the manifest is empty, it has no rows", wanted="at least one image"
        )
    columns: dict[str, pd.Series] = {}
    for column in CORE_COLUMNS:
        values = frame[column] if column in frame.columns else pd.Series(None, index=frame.index)
        columns[column] = (
            to_number(values, f"{name}: {column}") if column in NUMBER_COLUMNS else to_text(values)
        )
    _check_ids(columns["image_id"], name)
    others = [column for column in frame.columns if column not in CORE_COLUMNS]
    for column in _in_order(frame[others]):
        columns[column] = frame[column]
    result = pd.DataFrame(columns).reset_index(drop=True)
    _apply_schema(result, name)
    return result


def read_manifest(path: PathLike) -> pd.DataFrame:
    """Return the manifest in a Parquet or CSV file, checked."""
    is_csv = str(path).lower().endswith(".csv")
    options: dict[str, Any] = {"dtype": dict.fromkeys(TEXT_COLUMNS, "str")} if is_csv else {}
    return check_manifest(read_table(path, **options), str(path))


def write_manifest(path: PathLike, frame: pd.DataFrame) -> None:
    """Write a checked manifest as Parquet or CSV, by the suffix of `path`."""
    write_table(path, check_manifest(frame, str(path)))


def to_text(values: pd.Series) -> pd.Series:
    """Return `values` as text with NaN where missing; whole numbers lose their `.0`."""
    import numpy as np
    import pandas as pd

    dtype = pd.StringDtype(na_value=np.nan)
    if not isinstance(values.dtype, pd.StringDtype):
        if pd.api.types.is_float_dtype(values) and bool((values.dropna() % 1 == 0).all()):
            values = values.astype("Int64")  # an id column with gaps was read as float
        values = values.astype(object).where(values.notna(), np.nan)
    text = values.astype(dtype).str.strip()
    return text.mask(text == "")


def to_number(values: pd.Series, name: str) -> pd.Series:
    """Return `values` as float64, NaN where missing; `name` is what the error calls the column.

    Raises
    ------
    LesionError
        A value is neither a number nor missing.
    """
    import pandas as pd

    numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    bad = numbers.isna() & values.notna()
    if bad.any():
        raise LesionError(
            f"{name}: {int(bad.sum())} values are not numbers, "
            f"first {values[bad].iloc[0]!r} in row {_row(bad)}",
            wanted="a number, or nothing where it is unknown",
        )
    return numbers


def _row(mask: pd.Series) -> int:
    return int(mask.to_numpy().argmax()) + 1


def _check_ids(ids: pd.Series, name: str) -> None:
    if ids.isna().any():
        raise LesionError(
            f"{name}: {int(ids.isna().sum())} rows have no image_id, first row {_row(ids.isna())}",
            wanted="an image_id in each row",
        )
    twice = ids.duplicated(keep=False)
    if twice.any():
        shown = ", ".join(ids[twice].unique()[:3])
        raise LesionError(
            f"{name}: {ids[twice].nunique()} image_ids occur more than once: {shown}",
            wanted="image_id unique: one row an image",
            mend="remove the repeated rows, or give the images different names",
        )


def _in_order(frame: pd.DataFrame) -> list[str]:
    """Numeric columns first, then text, then what gives the answer away."""
    from pandas.api.types import is_numeric_dtype

    from lesioncore.leaks import is_leaking

    def rank(column: str) -> int:
        return 2 if is_leaking(column) else 0 if is_numeric_dtype(frame[column]) else 1

    return sorted(map(str, frame.columns), key=rank)


def _apply_schema(frame: pd.DataFrame, name: str) -> None:
    import pandera.errors

    try:
        manifest_schema().validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        cases = error.failure_cases
        lines = []
        for (column, check), group in cases.groupby(["column", "check"], sort=False, dropna=False):
            index = group["index"].dropna()
            where = f" (first in row {int(index.iloc[0]) + 1})" if len(index) else ""
            values = ", ".join(map(repr, group["failure_case"].drop_duplicates().head(3)))
            lines.append(f"{column}: {len(group)} values fail {check}: {values}{where}")
        raise LesionError(
            f"{name}: " + "; ".join(lines),
            wanted="values as docs/reference/manifest.md lists them, or empty where unknown",
        ) from None
