"""Every feature of the stack with its formula; `python -m pipelines.stack.features.catalogue PAGE`
writes docs/reference/stack-features.md from what is computed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from pipelines.stack.features.formulas import FORMULAS
from pipelines.stack.features.outliers import NEIGHBOURS, REFERENCE
from pipelines.stack.features.patients import OUTLIER_COLUMNS, RANKED_COLUMNS, RELATIVE_COLUMNS
from pipelines.stack.features.rates import CATEGORIES, STEADY
from pipelines.stack.features.table import MASK, SCORE, SCORE_RELATIVES

_TITLES = {
    "metadata": "Metadata, as the archive has it",
    "geometry": "Geometry",
    "border": "Border",
    "colour": "Colour",
    "position": "Position on the body",
    "masks": "Masks",
    "patient": "Against the patient's other lesions",
    "outlier": "Outliers",
    "scores": "Image scores",
    "rates": "Categories",
}
_RELATIVES = {
    "patient_z": "(x - mean of the patient) / deviation of the patient; 0 without a spread",
    "patient_ratio": "x / mean of the patient",
    "patient_rank": "part of the patient's lesions below x, ties and itself by half",
    "patient_gap": "x - mean of the patient",
}

_HEAD = """# Features of the stack

What `lesion stack train` computes of each lesion. This page is made from the code that computes it:
`python -m pipelines.stack.features.catalogue docs/reference/stack-features.md`. A feature is there
where all of its columns are: an archive without 3D total body photography has few, one with
measured masks has more. `--without FAMILY` leaves families out.

`tbp_lv_*` are the columns of ISIC 2024 (lengths in mm, areas in mm², colours in CIELAB, position in
mm), `mask_*` the [measurements](measurements.md) of a mask cache (`--masks`), `score_NAME` the
image scores (`--scores`), NAME being that of their table, run or column. Missing values stay
missing; what would divide by 0 is missing.

**Never an input**, by name and whatever the archive: what only training data have or what gives
the answer away (`iddx_*`, `mel_*`, `tbp_lv_dnn_lesion_confidence`, `lesion_id` and the others of
`lesioncore/leaks.py`), who gave the image (`attribution`, `copyright_license`), and how many
lesions a patient has (`n_images`): that follows how an archive was collected.

**Patient-relative features use the patient's own lesions only**, so a new patient needs nobody
else's. All lesions that the archive has of the patient count, labelled or not. A lesion with
nothing to be compared with is neutral: z-score 0, rank 0.5, ratio 1, outlier factor 1. In an
archive of which lesions were left out (the benign ones, say) they compare with what is left.
"""


@dataclass(frozen=True)
class Entry:
    """A feature: its name, family, formula, and the columns that it is made of."""

    name: str
    family: str
    formula: str
    sources: tuple[str, ...]


def catalogue() -> list[Entry]:
    """Return every feature, in the order of the families."""
    found = list(_entries())
    return sorted(found, key=lambda entry: list(_TITLES).index(entry.family))


def page() -> str:
    """Return the page as Markdown."""
    parts = [_HEAD]
    for family, entries in groupby(catalogue(), key=lambda entry: entry.family):
        parts += [f"\n## {_TITLES[family]} (`{family}`)\n", "| feature | formula | columns |"]
        parts.append("| --- | --- | --- |")
        for entry in entries:
            columns = ", ".join(f"`{name}`" for name in entry.sources)
            parts.append(f"| `{entry.name}` | {entry.formula} | {columns} |")
    return "\n".join(parts) + "\n"


def _entries() -> Iterator[Entry]:
    yield Entry("male", "metadata", "1 male, 0 female", ("sex",))
    for name in ("age", "diameter_mm"):
        yield Entry(name, "metadata", "as it is (years, mm)", (name,))
    yield Entry(
        "COLUMN", "metadata", "each other numeric column of the archive, as it is", ("COLUMN",)
    )
    yield Entry(f"{MASK}COLUMN", "masks", "each measurement, as it is", (f"{MASK}COLUMN",))
    for formula in FORMULAS:
        yield Entry(formula.name, formula.family, f"`{formula.text}`", formula.sources)
    for name, with_ratio in RELATIVE_COLUMNS:
        endings = ["patient_z", *(["patient_ratio"] if with_ratio else [])]
        endings += ["patient_rank"] if name in RANKED_COLUMNS else []
        for ending in endings:
            yield Entry(f"{name}_{ending}", "patient", _RELATIVES[ending], (name,))
    yield Entry(
        "patient_outlier",
        "outlier",
        f"local outlier factor (Breunig et al. 2000) among the patient's lesions, {NEIGHBOURS} "
        "neighbours, in the z-scores of those of these columns that are there; of a patient with "
        f"more than {REFERENCE} lesions, neighbours are sought among {REFERENCE} of them",
        OUTLIER_COLUMNS,
    )
    yield Entry(f"{SCORE}NAME", "scores", "the score, as it is", (f"{SCORE}NAME",))
    for ending in SCORE_RELATIVES:
        yield Entry(f"{SCORE}NAME_{ending}", "scores", _RELATIVES[ending], (f"{SCORE}NAME",))
    for name in CATEGORIES:
        yield Entry(
            f"{name}_rate",
            "rates",
            "log-odds of malignancy of the training lesions with the same value, steadied by "
            f"{STEADY:g} lesions of the overall rate; of a training lesion, by the other inner "
            "folds alone",
            (name,),
        )


def main() -> None:
    """Write the page to the file named, or to stdout."""
    if len(sys.argv) > 1:
        from lesioncore.files import write_text

        write_text(Path(sys.argv[1]), page())
    else:
        print(page())


if __name__ == "__main__":
    main()
