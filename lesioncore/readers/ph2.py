"""PH2: 200 dermoscopic images of melanocytic lesions with masks, a folder a case."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from lesioncore.errors import LesionError
from lesioncore.readers.base import Reader, register
from lesioncore.readers.layout import find_file, find_folder, index_images
from lesioncore.readers.tables import harmonised

if TYPE_CHECKING:
    import pandas as pd

# What the dermatologists noted, in columns `ph2_...`: leaks, since the diagnosis was made by them.
CRITERIA = (
    "asymmetry",
    "pigment_network",
    "dots_globules",
    "streaks",
    "regression_areas",
    "blue_whitish_veil",
)
# Columns of the spreadsheet, in the order of the codes that the text file has instead.
_DIAGNOSES = ("common nevus", "atypical nevus", "melanoma")


@register("ph2")
class Ph2(Reader):
    """Reads PH2 (Mendonca et al. 2013, doi:10.1109/EMBC.2013.6610779)."""

    default_policy = "melanoma"
    layout = (
        "PH2_dataset.txt (or PH2_dataset.csv, saved from the .xlsx) and "
        "'PH2 Dataset images'/IMD002/IMD002_Dermoscopic_Image/IMD002.bmp, .../IMD002_lesion.bmp"
    )

    def read(self) -> pd.DataFrame:
        """Return the manifest: diagnosis by `Clinical Diagnosis`, no age, sex, site or patient."""
        import pandas as pd

        self.check_root()
        # Downloads unpack to a folder PH2Dataset (or PH2_dataset) around it all.
        places = [self.root, find_folder(self.root, "PH2Dataset", "PH2_dataset", "PH2")]
        path = find_file(places, "PH2_dataset.txt", "PH2_dataset.csv")
        found = (find_folder(place, "PH2 Dataset images") for place in places if place)
        folder = next(filter(None, found), None)
        if folder is None and (path is None or self.require_images):
            raise self.not_found("folder 'PH2 Dataset images'")
        images = index_images([folder], lambda stem: _case(stem, r"IMD\d+"))
        masks = index_images([folder], lambda stem: _case(stem, r"IMD\d+(?=_lesion$)"))
        if path is None:
            table = pd.DataFrame({"image_id": list(images)})
        else:
            table = _read_text(path) if path.suffix.lower() == ".txt" else _read_sheet(path)
            table = table.assign(**harmonised(table["code"], self.name, path)).drop(columns="code")
        return self.finish(table, images, masks, keep_unlisted=True, modality="dermoscopy")


def _case(stem: str, pattern: str) -> str | None:
    found = re.match(pattern, stem)
    rest = stem[found.end() :] if found else ""
    return found.group() if found and rest in ("", "_lesion") else None


def _read_text(path: Path) -> pd.DataFrame:
    """Rows `|| IMD003 || || 0 || 0 | T | A | A | A | A || 4 ||`; histology, second, may be empty.

    Splitting must keep the empty cell, or every later column moves by one.
    """
    import pandas as pd

    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        cells = [cell.strip() for cell in line.split("||")]
        if len(cells) < 5 or not re.fullmatch(r"IMD\d+", cells[1]):
            continue
        notes = [note.strip() for cell in cells[4:] for note in cell.split("|")]
        rows.append([cells[1], cells[2], cells[3], *notes[: len(CRITERIA)]])
    if not rows:
        raise LesionError(f"no case in {path}", wanted="rows like || IMD003 || ... || 0 || ...")
    columns = ["image_id", "histological_diagnosis", "code", *(f"ph2_{c}" for c in CRITERIA)]
    return pd.DataFrame(rows, columns=columns)


def _read_sheet(path: Path) -> pd.DataFrame:
    """The spreadsheet saved as CSV: a legend, then a header from `Image Name`, then X marks."""
    import pandas as pd

    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    start = next((i for i, line in enumerate(lines) if "image name" in line.lower()), None)
    if start is None:
        raise LesionError(
            f"{path}: no header row with 'Image Name'",
            wanted="PH2_dataset.xlsx saved as CSV, or PH2_dataset.txt",
        )
    separator = ";" if lines[start].count(";") > lines[start].count(",") else ","
    sheet = pd.read_csv(io.StringIO("\n".join(lines[start:])), sep=separator, dtype="str")
    names = {re.sub(r"\W+", " ", str(c)).strip().lower(): c for c in sheet.columns}
    missing = [name for name in _DIAGNOSES if name not in names]
    if missing:
        raise LesionError(
            f"{path}: no column {', '.join(missing)}; it has: {', '.join(map(str, sheet.columns))}",
            wanted="PH2_dataset.xlsx saved as CSV, with one column a diagnosis",
        )
    sheet = sheet[sheet[names["image name"]].str.fullmatch(r"\s*IMD\d+\s*", na=False)]
    marks = pd.DataFrame({str(i): sheet[names[d]].notna() for i, d in enumerate(_DIAGNOSES)})
    table = pd.DataFrame(
        {
            "image_id": sheet[names["image name"]].str.strip(),
            "code": marks.idxmax(axis=1).where(marks.any(axis=1)),
        }
    )
    for criterion in CRITERIA:
        start_of = criterion.replace("_", " ")
        column = next((c for name, c in names.items() if name.startswith(start_of)), None)
        if column is not None:
            table[f"ph2_{criterion}"] = sheet[column].str.strip()
    return table
