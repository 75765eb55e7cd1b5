"""What the API answers: the shapes of its JSON, and how they are filled from a result."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from pipelines.pipeline import NOTICE

if TYPE_CHECKING:
    from pipelines.pipeline import LesionPipeline
    from pipelines.serving.engine import Looked
    from pipelines.serving.skin_check import SkinReference

#: Longer side of the picture with the outline, pixels.
PICTURE_SIDE = 640


class MaskAnswer(BaseModel):
    """The mask in figures."""

    score: float = Field(description="confidence of the segmenter, 0 to 1")
    quality: float | None = Field(description="Dice expected of the mask, 0 to 1")
    area: float = Field(description="part of the photograph that the lesion fills, 0 to 1")
    box: tuple[int, int, int, int] = Field(
        description="y0, x0, y1, x1 of the lesion, half-open, pixels of the upright photograph"
    )
    shape: tuple[int, int] = Field(description="height and width of the upright photograph")


class SkinAnswer(BaseModel):
    """How far the picture lies from known lesions, and the limit past which it is refused."""

    distance: float
    limit: float


class Prediction(BaseModel):
    """What the pipeline says of one photograph. Research use, not a diagnosis."""

    malignant: float = Field(description="probability of malignancy, 0 to 1")
    low: float | None = Field(None, description="lower end of the calibration's 95% interval")
    high: float | None = Field(None, description="upper end of the calibration's 95% interval")
    score: float | None = Field(None, description="the score before its calibration")
    flagged: bool | None = Field(None, description="whether it is at or above the threshold")
    threshold: float | None = Field(None, description="operating point of the model")
    prediction_set: str | None = Field(
        None, description="benign, malignant, both (undecided) or none (like neither)"
    )
    diagnoses: dict[str, float] = Field({}, description="probability of each class")
    mask_status: str = Field(description="ok, or empty, failed or distrusted: the mask is not used")
    reason: str = Field("", description="why the mask was not used")
    focus: str = Field(description="how the photograph was focused; full without the mask")
    missing: list[str] = Field(description="metadata that the model can use and did not get")
    mask: MaskAnswer
    skin: SkinAnswer | None = Field(None, description="of the skin check, where it is on")
    model: str
    segmenter: str
    mask_png: str | None = Field(None, description="with ?mask=true: base64 PNG, 0 and 255")
    outline_jpeg: str | None = Field(
        None, description="with ?pictures=true: base64 JPEG, the photograph with its mask outlined"
    )
    crop_jpeg: str | None = Field(
        None, description="with ?pictures=true: base64 JPEG, what the classifier saw"
    )
    notice: str = NOTICE


class ExplanationAnswer(BaseModel):
    """What a probability rests on. Research use, not a diagnosis."""

    malignant: float
    evidence_png: str = Field(
        description="base64 PNG: what the network saw, evidence for malignancy, outline of the mask"
    )
    evidence_inside: float | None = Field(
        description="part of the evidence inside the mask, 0 to 1; null where there is none"
    )
    area_inside: float = Field(description="part of the picture that the mask fills, 0 to 1")
    deletion_gain: float = Field(
        description="how much sooner the log-odds fall when evidence is taken away than by chance; "
        "at 0 or below the map shows nothing"
    )
    effects: dict[str, float] = Field(
        description="what each known piece of metadata adds to the log-odds of malignancy"
    )
    notice: str = NOTICE


class JobItem(BaseModel):
    """One image of a batch job."""

    index: int = Field(description="place in the request, from 0")
    id: str | None = Field(description="the id that the client gave it")
    status: str = Field(description="waiting, done, refused, failed or expired")
    prediction: Prediction | None = None
    error: dict[str, Any] | None = Field(None, description="code, found, wanted, mend")


class Job(BaseModel):
    """A batch job."""

    job: str
    state: str = Field(description="working or done")
    created: str
    finished: str | None
    images: int
    counts: dict[str, int] = Field(description="images by status")
    items: list[JobItem]
    notice: str = NOTICE


class Accepted(BaseModel):
    """The answer to a batch that was taken on."""

    job: str
    images: int
    href: str = Field(description="where to look for it")
    notice: str = NOTICE


class Refused(BaseModel):
    """What is answered in place of a result."""

    error: dict[str, Any] = Field(description="code, found, wanted, mend")
    notice: str = NOTICE


def prediction(
    looked: Looked,
    pipeline: LesionPipeline,
    reference: SkinReference | None,
    *,
    mask: bool = False,
    pictures: bool = False,
) -> Prediction:
    """Return the answer of what came of a photograph."""
    result, entry = looked.result, looked.result.entry
    height, width = looked.pixels.shape[:2]
    found, means = result.calibrated, pipeline.classifier.calibration
    skin = None
    if looked.distance is not None and reference is not None:
        skin = SkinAnswer(distance=looked.distance, limit=reference.limit)
    return Prediction(
        malignant=result.probability,
        low=None if found is None else _number(found.low),
        high=None if found is None else _number(found.high),
        score=None if found is None else _number(found.raw),
        flagged=None if found is None else found.flagged,
        threshold=None if means is None else means.threshold,
        prediction_set=None if found is None else found.prediction_set,
        diagnoses=result.diagnoses,
        mask_status=result.status,
        reason=result.reason,
        focus=result.focus,
        missing=list(result.missing),
        mask=MaskAnswer(
            score=entry.score,
            quality=_number(entry.quality),
            area=entry.area / (height * width),
            box=tuple(map(int, entry.box)),  # type: ignore[arg-type]
            shape=(height, width),
        ),
        skin=skin,
        model=pipeline.classifier.name,
        segmenter=segmenter_name(pipeline),
        mask_png=_png(result.mask.astype(np.uint8) * 255) if mask else None,
        outline_jpeg=_jpeg(_outlined(looked)) if pictures else None,
        crop_jpeg=_jpeg(result.crop) if pictures else None,
    )


def explanation(looked: Looked) -> ExplanationAnswer:
    """Return the answer of an explained photograph."""
    from pipelines.explanation_picture import evidence_picture

    found = looked.explanation
    assert found is not None
    return ExplanationAnswer(
        malignant=found.result.probability,
        evidence_png=_png(evidence_picture(found)),
        evidence_inside=_number(found.inside.evidence),
        area_inside=found.inside.area,
        deletion_gain=found.deletion.gain,
        effects=found.effects,
    )


def segmenter_name(pipeline: LesionPipeline) -> str:
    """Return what the card of the segmenter calls it."""
    segmenter: Any = pipeline.segmenter
    return str(segmenter.cards[0].name if hasattr(segmenter, "cards") else segmenter.name)


def _outlined(looked: Looked) -> NDArray[np.uint8]:
    from pipelines.contours import outlined

    mask = looked.result.mask
    return outlined(looked.pixels, None, mask if mask.any() else None, PICTURE_SIDE)


def _png(picture: NDArray[np.uint8]) -> str:
    return _encoded(".png", picture)


def _jpeg(picture: NDArray[np.uint8]) -> str:
    return _encoded(".jpg", picture)


def _encoded(suffix: str, picture: NDArray[np.uint8]) -> str:
    import cv2

    given = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(suffix, given)
    assert done
    return base64.b64encode(data.tobytes()).decode()


def _number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
