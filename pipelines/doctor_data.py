"""The doctor's checks of a data set: files, masks, labels, groups, leaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lesioncore.config import DataOptions
from lesioncore.errors import LesionError
from lesioncore.progress import track
from pipelines.doctor import Finding, finding_of

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.config import DoctorConfig

_SECTION = "data"
_NAMED = 3


def data_findings(config: DoctorConfig) -> Iterator[Finding]:
    """Yield whether the archive can be read, and whether both stages can learn from it."""
    from lesioncore.readers import default_policy, load_manifest

    assert config.dataset is not None
    options = DataOptions(
        dataset=config.dataset, root=config.root, columns=config.columns, n=config.n,
        split=config.split,
    )  # fmt: skip
    try:
        manifest = load_manifest(options)
        policy = default_policy(config.dataset)
    except LesionError as error:
        yield finding_of(_SECTION, config.dataset, error)
        return
    yield Finding(_SECTION, "images", "ok", f"{len(manifest):,} in {config.root}")
    yield from _files(manifest, config.images)
    yield from _labels(manifest, policy)
    yield from _groups(manifest)
    try:
        yield from _test_list(manifest, config.dataset)
    except LesionError as error:
        yield finding_of(_SECTION, "test list", error)


def _files(manifest: pd.DataFrame, count: int) -> Iterator[Finding]:
    from lesioncore.images import read_image, read_mask
    from lesioncore.readers.base import limit_rows

    rows = limit_rows(manifest, count or None)
    wrong = []
    for _, row in track(list(rows.iterrows()), "opening images"):
        try:
            image = read_image(row["image"])
            if isinstance(row["mask"], str) and row["mask"]:
                read_mask(row["mask"], image.shape[:2])
        except LesionError as error:
            wrong.append(error.found)
    masks = int(manifest["mask"].notna().sum())
    opened = f"{len(rows):,} opened" + (", with their masks" if masks else "")
    if wrong:
        shown = "; ".join(wrong[:_NAMED])
        yield Finding(_SECTION, "files", "missing",
                      f"{len(wrong)} of {len(rows):,} cannot be used: {shown}",
                      "fetch these files again, or take them out")  # fmt: skip
    else:
        yield Finding(_SECTION, "files", "ok", opened)
    yield Finding(_SECTION, "true masks", "ok" if masks else "note", f"{masks:,} images",
                  "" if masks else "stage 1 cannot train here; take a segmenter from another "
                  "archive")  # fmt: skip


def _labels(manifest: pd.DataFrame, policy: str) -> Iterator[Finding]:
    from lesioncore.diagnoses import labels

    values = labels(manifest, policy)
    malignant, benign = int((values == 1).sum()), int((values == 0).sum())
    text = f"{malignant:,} malignant, {benign:,} benign by {policy!r}, " \
           f"{len(values) - malignant - benign:,} unknown"  # fmt: skip
    both = malignant > 0 and benign > 0
    yield Finding(_SECTION, "labels", "ok" if both else "note", text,
                  "" if both else "stage 2 needs both classes")  # fmt: skip
    missing = ", ".join(
        f"{name} {manifest[name].isna().mean():.0%}" for name in ("age", "sex", "site")
    )
    yield Finding(_SECTION, "metadata", "ok", f"missing: {missing}")


def _groups(manifest: pd.DataFrame) -> Iterator[Finding]:
    from lesioncore.duplicates import content_duplicates
    from lesioncore.splits import assign_groups

    groups = assign_groups(manifest)
    known = int(manifest[["patient_id", "lesion_id"]].notna().any(axis=1).sum())
    yield Finding(_SECTION, "groups", "ok" if known else "note",
                  f"{groups.nunique():,} (patient or lesion known for {known:,} images)",
                  "" if known else "without patients or lesions, only duplicates keep a split "
                  "from leaking")  # fmt: skip
    pairs = content_duplicates(manifest)
    yield Finding(_SECTION, "duplicates", "note" if pairs else "ok",
                  f"{len(pairs)} pairs of equal files" if pairs else "no two files are equal",
                  "they are kept in one part of every split" if pairs else "")  # fmt: skip


def _test_list(manifest: pd.DataFrame, dataset: str) -> Iterator[Finding]:
    from lesioncore.holdout import test_ids

    listed = set(test_ids(manifest, dataset, "auto"))
    found = int(manifest["image_id"].isin(listed).sum())
    yield Finding(_SECTION, "test list", "ok" if found else "note",
                  f"{found:,} of {len(manifest):,} images are kept back")  # fmt: skip
