"""Test lists that leave one hospital or one archive out, to train without it and test on it."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesioncore.errors import LesionError, UsageError
from lesioncore.files import write_text
from lesioncore.progress import log

if TYPE_CHECKING:
    from pipelines.audit.data import AuditData

FOLDER = "leave-out"
_UNSAFE = re.compile(r"[^A-Za-z0-9]+")


def write_leave_out(data: AuditData, column: str, folder: Path) -> list[dict[str, Any]]:
    """Write one list of image ids for each value of a column, and return what was written.

    Each list is what `clsstage train --test-list`, `segstage train --test-list` and
    `lesion run --test-list` take: its images are kept back, and images that share a patient, a
    lesion or a picture with them are used for nothing.

    Parameters
    ----------
    data : AuditData
    column : str
        A column of the manifest; `hospital` is the one that names the hospital.
    folder : path
        `FOLDER`/`column` is made in it.

    Raises
    ------
    UsageError
        There is no such column.
    LesionError
        It has one value alone.
    """
    name = data.hospital if column == "hospital" else column
    if name is None or name not in data.manifest:
        raise UsageError(
            f"no column {column!r} to leave out by",
            wanted=f"one of: {', '.join(map(str, data.manifest.columns))}",
            mend="--hospital NAME says which column names the hospital"
            if column == "hospital" else None,
        )  # fmt: skip
    values = data.manifest[name]
    found: list[dict[str, Any]] = []
    counts = values.value_counts()
    if len(counts) < 2:
        raise LesionError(
            f"{name} has {len(counts)} values: nothing can be left out and tested on",
            wanted="two values or more",
            mend="--also.NAME DIR adds an archive" if name == "source" else None,
        )
    slugs: set[str] = set()
    for value, count in counts.items():
        inside = (values == value).to_numpy()
        slug = _slug(str(value), slugs)
        path = folder / FOLDER / _slug(column, set()) / f"{slug}.txt"
        labels = data.labels[inside]
        head = (
            f"# {name} = {value}: {count} images, {int((labels == 1).sum())} malignant by "
            f"{data.policy!r}\n# for --test-list; in place of the archive's committed list\n"
        )
        write_text(path, head + "\n".join(map(str, data.ids[inside])) + "\n")
        found.append({
            "column": str(name), "value": str(value), "list": str(path), "images": int(count),
            "malignant": int((labels == 1).sum()), "benign": int((labels == 0).sum()),
        })  # fmt: skip
    log.info("%d lists to leave one %s out: %s", len(found), column, path.parent)
    return found


def _slug(text: str, taken: set[str]) -> str:
    """Return a name for a file, no two the same."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    base = _UNSAFE.sub("-", plain).strip("-").lower()[:60] or "other"
    slug, number = base, 2
    while slug in taken:
        slug, number = f"{base}-{number}", number + 1
    taken.add(slug)
    return slug
