"""`lesion predict`: photographs in, a table of probabilities and pictures of the masks out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesioncore.errors import LesionError, UsageError
from lesioncore.files import read_table, write_table
from lesioncore.photos import find_photos, photo_names
from lesioncore.progress import log, track
from pipelines.pipeline import NOTICE, LesionPipeline, PipelineResult, stage_folders

if TYPE_CHECKING:
    from pipelines.config import PredictConfig

COLUMNS = (
    "image_id", "malignant", "mask_status", "focus", "model", "reason", "mask_score", "missing",
    "image",
)  # fmt: skip
_METADATA = ("age", "sex", "site")


def predict(config: PredictConfig) -> int:
    """Print and write a probability for each photograph; return 1 past `max_failed`.

    Raises
    ------
    LesionError
        No such photograph, no image in a folder, no trained stage.
    UsageError
        Neither a run nor both stages were named, or a sex or site that nobody knows.
    """
    segmenter, classifier = _stages(config)
    photos = _without(find_photos(config.photos), config.overlays)[: config.limit]
    names = photo_names(photos)
    said = _metadata(config, names)
    pipeline = LesionPipeline.load(
        segmenter, classifier, tta=config.tta, device=config.device, precision=config.precision
    )
    rows = []
    for photo in track(photos, "predicting"):
        try:
            result = pipeline(photo, image_id=names[photo], **said[photo])
        except LesionError as error:
            log.warning("%s: %s", photo, error.found)
            rows.append({"image_id": names[photo], "mask_status": "unread", "focus": "none",
                         "image": str(photo), "reason": error.found})  # fmt: skip
            continue
        print(result)
        rows.append(_row(result, photo, pipeline.classifier.name))
        if config.overlays is not None:
            write_overlay(config.overlays / f"{names[photo]}.png", photo, result)
    return _finish(config, rows)


def _without(photos: list[Path], folder: Path | None) -> list[Path]:
    """Leave out the pictures that an earlier call wrote among the photographs."""
    if folder is None:
        return photos
    kept = [photo for photo in photos if folder.resolve() not in photo.resolve().parents]
    if not kept:
        raise UsageError(
            f"all {len(photos)} photographs lie in {folder}, where pictures of masks are written",
            wanted="photographs elsewhere",
            mend="--overlays another folder, or --overlays null",
        )
    if len(kept) < len(photos):
        log.info("%d pictures in %s are left out", len(photos) - len(kept), folder)
    return kept


def _finish(config: PredictConfig, rows: list[dict[str, Any]]) -> int:
    import pandas as pd

    table = pd.DataFrame(rows)
    classes = [name for name in table if str(name).startswith("p_")]
    write_table(config.out, table.reindex(columns=[*COLUMNS, *classes]))
    failed = sum("malignant" not in row for row in rows)
    log.info("wrote %d rows to %s (%s)", len(rows), config.out, NOTICE)
    if failed:
        log.warning("%d of %d photographs could not be read", failed, len(rows))
    return int(failed > config.max_failed)


def _row(result: PipelineResult, photo: Path, model: str) -> dict[str, Any]:
    return {
        "image_id": result.image_id,
        "malignant": result.probability,
        "mask_status": result.status,
        "focus": result.focus,
        "model": model,
        "reason": result.reason,
        "mask_score": result.entry.score,
        "missing": " ".join(result.missing),
        "image": str(photo),
        **{f"p_{name}": chance for name, chance in result.diagnoses.items()},
    }


def write_overlay(out: Path, photo: Path, result: PipelineResult, size: int = 640) -> None:
    """Write the photograph with its mask outlined and its probability beneath."""
    from lesioncore.files import atomic_path
    from lesioncore.images import read_image
    from pipelines.contact_sheet import Tile, contact_sheet
    from pipelines.contours import outlined

    found = result.mask if result.mask.any() else None
    picture = outlined(read_image(photo), None, found, size)
    detail = f"p {result.probability:.2f} · mask {result.entry.score:.2f}"
    sheet = contact_sheet(
        [Tile(picture, result.image_id, detail, result.status)],
        title=result.image_id, subtitle=NOTICE, columns=1, size=size, legend=(False, True),
    )  # fmt: skip
    with atomic_path(out) as temporary:
        sheet.save(temporary)


def _stages(config: PredictConfig) -> tuple[Path | None, Path | None]:
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


def _metadata(config: PredictConfig, names: dict[Path, str]) -> dict[Path, dict[str, Any]]:
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
