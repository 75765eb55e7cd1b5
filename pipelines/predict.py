"""`lesion predict`: photographs in, a table of probabilities and pictures of the masks out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesioncore.calibration.text import statement
from lesioncore.errors import LesionError
from lesioncore.files import write_table
from lesioncore.photos import find_photos, photo_names
from lesioncore.progress import log, track
from pipelines.photo_inputs import chosen_stages, said_metadata, without_folder
from pipelines.pipeline import NOTICE, LesionPipeline, PipelineResult

if TYPE_CHECKING:
    from lesioncore.calibration import Calibrated, Calibration
    from pipelines.config import PredictConfig

COLUMNS = (
    "image_id", "malignant", "mask_status", "focus", "model", "reason", "mask_score", "missing",
    "image",
)  # fmt: skip


def predict(config: PredictConfig) -> int:
    """Print and write a probability for each photograph; return 1 past `max_failed`.

    Raises
    ------
    LesionError
        No such photograph, no image in a folder, no trained stage.
    UsageError
        Neither a run nor both stages were named, or a sex or site that nobody knows.
    """
    segmenter, classifier = chosen_stages(config)
    photos = without_folder(find_photos(config.photos), config.overlays)[: config.limit]
    names = photo_names(photos)
    said = said_metadata(config, names)
    pipeline = LesionPipeline.load(
        segmenter,
        classifier,
        tta=config.tta,
        device=config.device,
        precision=config.precision,
        calibration=config.calibration,
        prevalence=config.prevalence,
        engine=config.engine,
    )
    calibration = pipeline.classifier.calibration
    if calibration is not None:
        print("\n".join(statement(calibration)))
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
    return _finish(config, rows, calibration)


def _finish(
    config: PredictConfig, rows: list[dict[str, Any]], calibration: Calibration | None
) -> int:
    import pandas as pd

    from clsstage.calibrated import COLUMNS as CALIBRATED
    from clsstage.calibrated import warn_of_drift

    table = pd.DataFrame(rows)
    classes = [name for name in table if str(name).startswith("p_")]
    more = () if calibration is None else CALIBRATED
    table = table.reindex(columns=[*COLUMNS, *more, *classes])
    write_table(config.out, table)
    if calibration is not None:
        warn_of_drift(table["malignant"].astype(float), calibration)
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
        **_calibrated(result.calibrated),
        **{f"p_{name}": chance for name, chance in result.diagnoses.items()},
    }


def _calibrated(found: Calibrated | None) -> dict[str, Any]:
    from clsstage.calibrated import COLUMNS as CALIBRATED

    if found is None:
        return {}
    values = (found.raw, found.low, found.high, found.flagged, found.prediction_set)
    return dict(zip(CALIBRATED, values, strict=True))


def write_overlay(out: Path, photo: Path, result: PipelineResult, size: int = 640) -> None:
    """Write the photograph with its mask outlined and its probability beneath."""
    from lesioncore.files import atomic_path
    from lesioncore.images import read_image
    from pipelines.contact_sheet import Tile, contact_sheet
    from pipelines.contours import outlined

    found = result.mask if result.mask.any() else None
    picture = outlined(read_image(photo), None, found, size)
    flag = " · flagged" if result.calibrated is not None and result.calibrated.flagged else ""
    detail = f"p {result.probability:.2f}{flag} · mask {result.entry.score:.2f}"
    sheet = contact_sheet(
        [Tile(picture, result.image_id, detail, result.status)],
        title=result.image_id, subtitle=NOTICE, columns=1, size=size, legend=(False, True),
    )  # fmt: skip
    with atomic_path(out) as temporary:
        sheet.save(temporary)
