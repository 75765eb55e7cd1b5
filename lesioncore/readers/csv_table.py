"""Any CSV or Parquet table of images: our columns by name, or through a mapping."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lesioncore.errors import LesionError, UsageError
from lesioncore.files import PathLike, read_table
from lesioncore.readers.base import Reader, register
from lesioncore.readers.layout import image_stem, index_images
from lesioncore.readers.tables import ALIASES, standardise

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("lesion")

_TEXT_IDS = ("image_id", "patient_id", "lesion_id")
# `image` names the file here, not the id as in ISIC's tables.
_ALIASES = {
    **ALIASES,
    "image_id": ("image_id", "isic_id", "image_name", "img_id", "id"),
    "target": ("target", "malignant"),
}
_PATHS = {
    "image": ("image", "image_path", "path", "filepath", "file", "filename"),
    "mask": ("mask", "mask_path"),
}


@register("csv")
class CsvTable(Reader):
    """Reads a table with one row an image.

    Parameters
    ----------
    root : path
        The table itself, or a folder with one table in it (`manifest.csv` is preferred). Relative
        paths in the table start at this folder.
    columns : mapping, optional
        Our column name -> the file's. Columns that are not named are found by their usual names; a
        name that is no core column renames a numeric column of the source.
    require_images : bool
        As for every reader.
    """

    layout = "a .csv or .parquet file, or a folder with one such file; --columns names its columns"

    def __init__(
        self,
        root: PathLike | None,
        *,
        columns: Mapping[str, str] | None = None,
        require_images: bool = True,
    ) -> None:
        super().__init__(root, require_images=require_images)
        self.columns = dict(columns or {})

    def read(self) -> pd.DataFrame:
        """Return the manifest, in the order of the table."""
        path = self._find_table()
        table = self._mapped(path)
        records = standardise(self._with_ids(table, path), self.name, path, _ALIASES)
        listed = _Files(path.parent)
        images = dict(
            zip(records["image_id"], listed.resolve(records, "image", by_id=True), strict=True)
        )
        masks = dict(zip(records["image_id"], listed.resolve(records, "mask"), strict=True))
        named = int(records["mask"].notna().sum()) if "mask" in records else 0
        found = {image_id: mask for image_id, mask in masks.items() if mask}
        if named > len(found):
            log.warning("%s: %d masks that it names are not there", path, named - len(found))
        records = records.drop(columns=["image", "mask", "source"], errors="ignore")
        return self.finish(records, {k: v for k, v in images.items() if v}, found)

    def _find_table(self) -> Path:
        if self.root.is_file():
            return self.root
        self.check_root()
        tables = sorted(
            item for item in self.root.iterdir() if item.suffix.lower() in (".csv", ".parquet")
        )
        preferred = [item for item in tables if item.stem in ("manifest", "metadata")]
        if len(tables) == 1 or len(preferred) == 1:
            return (preferred or tables)[0]
        if not tables:
            raise self.not_found(".csv or .parquet table")
        raise LesionError(
            f"{self.root} holds several tables: {', '.join(item.name for item in tables[:8])}",
            wanted="one, or one called manifest.csv",
            mend=f"--root {tables[0]} names the table itself",
        )

    def _mapped(self, path: Path) -> pd.DataFrame:
        text = {self.columns.get(name, name) for name in _TEXT_IDS}
        text |= {name for ours in _TEXT_IDS for name in _ALIASES[ours]}
        is_csv = path.suffix.lower() == ".csv"
        options = {"dtype": dict.fromkeys(sorted(text), "str")} if is_csv else {}
        table = read_table(path, **options)
        missing = [f"{theirs!r} (for {ours})" for ours, theirs in self.columns.items()
                   if theirs not in table.columns]  # fmt: skip
        if missing:
            raise UsageError(
                f"{path}: no column {', '.join(missing)}; "
                f"it has: {', '.join(map(str, table.columns))}",
                wanted="columns of the file on the right of each pair of --columns",
            )
        mapped = {ours: table[theirs] for ours, theirs in self.columns.items()}
        rest = table.drop(columns=[*self.columns.values(), *self.columns], errors="ignore")
        for ours, names in _PATHS.items():
            theirs = next((name for name in names if name in rest.columns), None)
            if ours not in mapped and theirs is not None:
                mapped[ours] = rest.pop(theirs)
        return rest.assign(**mapped)

    def _with_ids(self, table: pd.DataFrame, path: Path) -> pd.DataFrame:
        if any(name in table.columns for name in _ALIASES["image_id"]):
            return table
        if "image" not in table.columns:
            raise LesionError(
                f"{path}: no column for the image or its id; "
                f"it has: {', '.join(map(str, table.columns))}",
                wanted="image_id, or image (a path)",
                mend="--columns '{image_id: NAME, target: NAME}' says which columns they are",
            )
        names = table["image"].astype("str").str.rsplit("::", n=1).str[-1]
        return table.assign(image_id=names.str.replace("\\", "/").str.rsplit("/", n=1).str[-1])


class _Files:
    """Resolves paths against a folder; each folder and each HDF5 store is listed once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listed: dict[str, set[str]] = {}
        self._by_id: dict[str, str] | None = None

    def resolve(
        self, records: pd.DataFrame, column: str, *, by_id: bool = False
    ) -> list[str | None]:
        """Return absolute paths for a column, None where there is no such file.

        With `by_id`, rows without a usable path are looked for by their id under the folder.
        """
        ids = records["image_id"].tolist()
        if column not in records:
            return [self._with_id(image_id) if by_id else None for image_id in ids]
        cells = records[column].tolist()
        return [
            self._with_path(cell) or (self._with_id(image_id) if by_id else None)
            for cell, image_id in zip(cells, ids, strict=True)
        ]

    def _with_path(self, cell: object) -> str | None:
        if not isinstance(cell, str) or not cell.strip():
            return None
        from lesioncore.images import list_hdf5, split_reference

        path, key = split_reference(cell.strip())
        full = os.path.normpath(os.path.join(self.folder, path))  # noqa: PTH118 - 400,000 of them
        if key is not None:
            if full not in self._listed:
                self._listed[full] = set(list_hdf5(full))
            return f"{full}::{key}" if key in self._listed[full] else None
        parent, name = os.path.split(full)
        if parent not in self._listed:
            self._listed[parent] = _names_in(parent)
        return full if name in self._listed[parent] else None

    def _with_id(self, image_id: object) -> str | None:
        if self._by_id is None:
            self._by_id = index_images([self.folder], image_stem)
        return self._by_id.get(str(image_id))


def _names_in(folder: str) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except OSError:
        return set()
