"""The pipeline behind the queue: batches of image files in, results or refusals out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesioncore.errors import LesionError
from lesioncore.images import decode_image
from pipelines.pipeline import LesionPipeline, PipelineResult
from pipelines.serving.refusals import Refusal
from pipelines.serving.skin_check import SkinCheck, unlikely_picture
from pipelines.serving.telemetry import Telemetry
from pipelines.serving.work_queue import Work

if TYPE_CHECKING:
    from lesioncore.cache import MaskEntry
    from pipelines.explanation import Explanation


@dataclass(frozen=True)
class Looked:
    """What came of one photograph.

    Attributes
    ----------
    pixels : (H, W, 3) uint8 RGB
        Upright.
    result : PipelineResult
    distance : float or None
        From known lesions, as of the skin check; None where there was none.
    seconds : dict of str to float
        `queue`, and the photograph's part of `decode`, `skin`, `masks` and `classes`.
    explanation : Explanation or None
    """

    pixels: NDArray[np.uint8]
    result: PipelineResult
    distance: float | None
    seconds: dict[str, float]
    explanation: Explanation | None = None


class PhotoEngine:
    """Has batches of photographs looked at.

    Parameters
    ----------
    pipeline : LesionPipeline
    skin : SkinCheck or None
        None looks at the pictures alone, see `unlikely_picture`.
    check_skin : bool
        False answers whatever the picture shows.
    telemetry : Telemetry
    """

    def __init__(
        self,
        pipeline: LesionPipeline,
        skin: SkinCheck | None,
        telemetry: Telemetry,
        *,
        check_skin: bool = True,
    ) -> None:
        self.pipeline = pipeline
        self.skin = skin
        self.check_skin = check_skin
        self.telemetry = telemetry
        self._explaining = threading.Lock()

    @property
    def explains(self) -> bool:
        """Whether explanations can be had: an exported graph has no gradients."""
        return hasattr(self.pipeline.classifier, "device")

    def run(self, batch: list[Work]) -> None:
        """Set the result of every work of a batch: a `Looked`, or a `LesionError`."""
        self.telemetry.batch_size.observe(len(batch))
        with self.telemetry.timed("decode") as decode:
            pictures = [
                (work, pixels) for work in batch if (pixels := self._decoded(work)) is not None
            ]
        if not pictures:
            return
        with self.telemetry.timed("skin") as skin:
            distances = self._distances([pixels for _, pixels in pictures])
        kept = [
            (work, pixels, distance)
            for (work, pixels), distance in zip(pictures, distances, strict=True)
            if self._is_skin(work, pixels, distance)
        ]
        if not kept:
            return
        if kept[0][0].kind == "explain":
            self._settle(kept[0][0], lambda: self._explained(*kept[0], skin.seconds))
            return
        with self.telemetry.timed("masks") as masks:
            entries = self.pipeline.segmenter.predict_batch([pixels for _, pixels, _ in kept])
        shares = {
            "decode": decode.seconds / len(batch),
            "skin": skin.seconds / len(pictures),
            "masks": masks.seconds / len(kept),
        }
        for (work, pixels, distance), entry in zip(kept, entries, strict=True):
            self._settle(work, lambda: self._judged(work, pixels, distance, entry, shares))  # noqa: B023

    def _settle(self, work: Work, answer: Callable[[], Looked]) -> None:
        try:
            work.future.set_result(answer())
        except LesionError as error:
            work.future.set_exception(Refusal.of(error, 422, "cannot_be_judged"))
        except Exception as error:
            work.future.set_exception(error)

    def _judged(
        self,
        work: Work,
        pixels: NDArray[np.uint8],
        distance: float | None,
        entry: MaskEntry,
        shares: dict[str, float],
    ) -> Looked:
        with self.telemetry.timed("classes") as classes:
            result = self.pipeline.judge(pixels, entry, **work.metadata)
        queue = work.started - work.queued
        seconds = {"queue": queue, **shares, "classes": classes.seconds}
        return Looked(pixels, result, distance, seconds)

    def _explained(
        self, work: Work, pixels: NDArray[np.uint8], distance: float | None, skin: float
    ) -> Looked:
        from pipelines.explanation import Explainer

        # Gradients take several times the memory of an answer: one at a time.
        with self._explaining, self.telemetry.timed("explanation") as spent:
            found = Explainer(self.pipeline)(pixels, "photograph", work.metadata)
        seconds = {
            "queue": work.started - work.queued, "skin": skin, "explanation": spent.seconds
        }  # fmt: skip
        return Looked(pixels, found.result, distance, seconds, found)

    def _decoded(self, work: Work) -> NDArray[np.uint8] | None:
        try:
            pixels = decode_image(work.data, "the image")
        except LesionError as error:
            work.future.set_exception(Refusal.of(error, 422, "unreadable_image"))
            return None
        if pixels.shape[0] * pixels.shape[1] != work.pixels:
            # A header that says one size and data of another: the budget was for the first.
            lie = Refusal(422, "unreadable_image", "it is not of the size that its header says")
            work.future.set_exception(lie)
            return None
        return pixels

    def _distances(self, pictures: Sequence[NDArray[np.uint8]]) -> list[float | None]:
        if not self.check_skin or self.skin is None:
            return [None] * len(pictures)
        return list(self.skin.distances(pictures))

    def _is_skin(self, work: Work, pixels: NDArray[np.uint8], distance: float | None) -> bool:
        """Refuse what is no photograph of a lesion."""
        if not self.check_skin:
            return True
        reason = unlikely_picture(pixels)
        if reason is None and distance is not None and self.skin is not None:
            reason = self.skin.reason(distance)
        if reason is None:
            return True
        self.telemetry.not_skin.inc()
        refusal = Refusal(
            422, "not_skin", f"this does not look like a photograph of a skin lesion: {reason}",
            wanted="a sharp photograph of one lesion, which fills a good part of it",
            mend="another photograph; if this is one, tell those who run this server",
        )  # fmt: skip
        work.future.set_exception(refusal)
        return False


def warm_up(pipeline: LesionPipeline) -> float:
    """Look at a grey picture once, so that the first request does not pay for it; the seconds."""
    start = time.perf_counter()
    grey = np.full((64, 64, 3), 128, np.uint8)
    pipeline.judge(grey, pipeline.segmenter.predict(grey))
    return time.perf_counter() - start
