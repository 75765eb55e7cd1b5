"""`lesion explain`: why photographs got their probability, a picture each and a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lesioncore.errors import LesionError, UsageError
from lesioncore.files import write_table
from lesioncore.photos import find_photos, photo_names
from lesioncore.progress import log, track
from pipelines.photo_inputs import chosen_stages, said_metadata, without_folder
from pipelines.pipeline import NOTICE, LesionPipeline, read_photo

if TYPE_CHECKING:
    from pipelines.explain_config import ExplainConfig
    from pipelines.explanation import Explainer, Explanation


def explain(config: ExplainConfig) -> int:
    """Write a picture for each photograph and `explanations.csv`; return 1 past `max_failed`.

    Raises
    ------
    LesionError
        No such photograph, no trained stage, or features of another classifier.
    UsageError
        A method that the encoder does not allow, or known lesions without an archive.
    """
    from pipelines.explanation import Explainer
    from pipelines.explanation_picture import save_picture

    if (config.dataset is None) != (config.root is None):
        raise UsageError("one of --dataset and --root", wanted="both, or neither")
    segmenter, classifier = chosen_stages(config)
    photos = without_folder(find_photos(config.photos), config.out)[: config.limit]
    names = photo_names(photos)
    said = said_metadata(config, names)
    pipeline = LesionPipeline.load(
        segmenter, classifier, tta=config.tta, device=config.device, precision=config.precision
    )
    explainer = Explainer(
        pipeline, config.method, features=config.features, known=_known(config),
        nearest=config.nearest,
    )  # fmt: skip
    rows: list[dict[str, Any]] = []
    for photo in track(photos, "explaining"):
        try:
            pixels, _ = read_photo(photo)
            found = explainer(pixels, names[photo], said[photo])
        except UsageError:
            raise
        except LesionError as error:
            log.warning("%s: %s", photo, error.found)
            rows.append({"image_id": names[photo], "reason": error.found})
            continue
        print(found)
        rows.append(_row(found, explainer))
        save_picture(config.out / f"{names[photo]}.png", pixels, found)
    return _finish(config, rows)


def _known(config: ExplainConfig) -> Any:
    if config.dataset is None or config.root is None:
        return None
    from lesioncore.config import DataOptions
    from lesioncore.readers import load_manifest

    return load_manifest(DataOptions(dataset=config.dataset, root=config.root))


def _row(found: Explanation, explainer: Explainer) -> dict[str, Any]:
    return {
        "image_id": found.result.image_id,
        "malignant": found.result.probability,
        "mask_status": found.result.status,
        "focus": found.result.focus,
        "method": explainer.method,
        "evidence_inside": found.inside.evidence,
        "area_inside": found.inside.area,
        "deletion_gain": found.deletion.gain,
        **{f"effect_{name}": value for name, value in found.effects.items()},
        "nearest": " ".join(one.image_id for one in found.nearest),
        "reason": found.result.reason,
    }


def _finish(config: ExplainConfig, rows: list[dict[str, Any]]) -> int:
    import pandas as pd

    table = pd.DataFrame(rows)
    out = config.out / "explanations.csv"
    write_table(out, table)
    failed = int(table.get("malignant", pd.Series(np.nan, table.index)).isna().sum())
    log.info("wrote %d pictures and %s (%s)", len(rows) - failed, out, NOTICE)
    if failed < len(rows):
        # Of what a median says over many photographs; one map says little.
        gain = float(table["deletion_gain"].median())
        log.info(
            "in the median %.0f%% of the evidence is inside the mask, which fills %.0f%% of what "
            "the network sees; deleting the evidence first lowers the log-odds by %.2f more than "
            "deleting at random%s",
            100 * float(table["evidence_inside"].median()),
            100 * float(table["area_inside"].median()),
            gain,
            "" if gain > 0 else ": these maps do not show what the classifier uses",
        )
    if failed:
        log.warning("%d of %d photographs could not be read", failed, len(rows))
    return int(failed > config.max_failed)
