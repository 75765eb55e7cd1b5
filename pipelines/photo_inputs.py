"""What commands on photographs share: their stages, the photographs, what is known of each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesioncore.errors import LesionError, UsageError
from lesioncore.files import read_table
from lesioncore.progress import log
from pipelines.pipeline import stage_folders

if TYPE_CHECKING:
    from pipelines.config import PhotoOptions, StageOptions

_METADATA = ("age", "sex", "site")


def chosen_stages(config: StageOptions) -> tuple[Path | None, Path | None]:
    """Return the folders of both stages; what was not named is what ships."""
    if config.run is not None and (config.segmenter or config.classifier):
        raise UsageError("--run and --segmenter or --classifier", wanted="one or the other")
    if config.run is not None:
        return stage_folders(config.run, None)
    return _stage(config.segmenter, "segmenter"), _stage(config.classifier, "classifier")


def _stage(given: Path | None, kind: str) -> Path:
    from weights.resolve import resolve

    try:
        return resolve(given, kind=kind)
    except LesionError:
        if given is not None:
            raise
        raise UsageError(
            f"no --{kind} given, and none ships with this installation",
            wanted="--run RUN, or both --segmenter RUN and --classifier RUN",
            mend="lesion demo makes a small pair in runs/demo",
        ) from None


def without_folder(photos: list[Path], folder: Path | None) -> list[Path]:
    """Leave out the pictures that an earlier call wrote among the photographs."""
    if folder is None:
        return photos
    kept = [photo for photo in photos if folder.resolve() not in photo.resolve().parents]
    if not kept:
        raise UsageError(
            f"all {len(photos)} photographs lie in {folder}, where pictures of masks are written",
            wanted="photographs elsewhere",
            mend="another folder for the pictures",
        )
    if len(kept) < len(photos):
        log.info("%d pictures in %s are left out", len(photos) - len(kept), folder)
    return kept


def said_metadata(config: PhotoOptions, names: dict[Path, str]) -> dict[Path, dict[str, Any]]:
    """Return age, sex and site of each photograph: the table's word, else the flags'."""
    import pandas as pd

    flags = {name: getattr(config, name) for name in _METADATA}
    check_words(flags["sex"], flags["site"])
    said = {photo: dict(flags) for photo in names}
    if config.metadata is None:
        return said
    table = read_table(config.metadata, dtype={"image_id": str})
    if "image_id" not in table:
        raise LesionError(
            f"{config.metadata} has no column image_id", wanted="image_id and age, sex, site"
        )
    by_id = table.drop_duplicates("image_id", keep="last").set_index("image_id")
    known = [name for name in _METADATA if name in by_id]
    absent = 0
    for photo, name in names.items():
        if name not in by_id.index:
            absent += 1
            continue
        row = by_id.loc[name]
        said[photo] |= {column: row[column] for column in known if pd.notna(row[column])}
    if absent:
        log.warning("%d of %d photographs are not in %s", absent, len(names), config.metadata)
    return said


def check_words(sex: str | None, site: str | None) -> None:
    """Refuse a sex or site that would silently count as missing.

    Raises
    ------
    UsageError
        Naming the word.
    """
    from lesioncore.sites import UNKNOWN_WORDS, harmonise_sex, harmonise_site, plain_words

    def wrong(word: str | None, known: str | None) -> bool:
        return word is not None and known is None and plain_words(word) not in UNKNOWN_WORDS

    if wrong(sex, harmonise_sex(sex)):
        raise UsageError(f"unknown sex {sex!r}", wanted="female, male or unknown")
    if wrong(site, harmonise_site(site)):
        raise UsageError(
            f"unknown site {site!r}",
            wanted="a part of the body, such as back, face, lower extremity, palms/soles",
        )
