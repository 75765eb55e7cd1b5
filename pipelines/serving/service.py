"""Everything that one server holds: the pipeline, its queue, its limits, its jobs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lesioncore.devices import core_count
from lesioncore.errors import LesionError, UsageError
from lesioncore.progress import log
from pipelines.photo_inputs import chosen_stages
from pipelines.serving.admission import Admission, Keys
from pipelines.serving.answers import prediction
from pipelines.serving.engine import Looked, PhotoEngine, warm_up
from pipelines.serving.jobs import Jobs
from pipelines.serving.picture_files import looked_at
from pipelines.serving.refusals import Refusal
from pipelines.serving.skin_check import FILE, SkinCheck, SkinReference, read_reference
from pipelines.serving.spool import Spool
from pipelines.serving.telemetry import Telemetry
from pipelines.serving.work_queue import Work, WorkQueue

if TYPE_CHECKING:
    from pipelines.pipeline import LesionPipeline
    from pipelines.serving.config import ServeConfig

#: Uploads in memory: so many of the largest images at once.
_LARGEST_AT_ONCE = 16
_MOST_WORKERS = 4
# Part of the time-out that a request may be expected to wait.
_PATIENCE = 0.25


@dataclass
class Service:
    """The parts of a server.

    Attributes
    ----------
    config : ServeConfig
    pipeline : LesionPipeline
    engine : PhotoEngine
    queue : WorkQueue
    admission : Admission
    keys : Keys
    telemetry : Telemetry
    jobs : Jobs or None
        None without a spool.
    skin : str
        What the skin check does, in words.
    """

    config: ServeConfig
    pipeline: LesionPipeline
    engine: PhotoEngine
    queue: WorkQueue
    admission: Admission
    keys: Keys
    telemetry: Telemetry
    jobs: Jobs | None
    skin: str

    @classmethod
    def load(cls, config: ServeConfig) -> Service:
        """Load both stages and put the parts together; nothing runs yet.

        Raises
        ------
        LesionError
            As of `LesionPipeline.load`; a skin check of another classifier; a spool in use.
        UsageError
            Flags that contradict each other, keys that are none.
        """
        keys = Keys.read(config.api_key_file)
        segmenter, classifier = chosen_stages(config)
        pipeline, workers = _pipeline(config, segmenter, classifier)
        check, skin = _skin_check(config, pipeline, classifier)
        telemetry = Telemetry()
        engine = PhotoEngine(pipeline, check, telemetry, check_skin=config.skin_check != "off")
        queue = WorkQueue(
            engine.run,
            workers=workers,
            size=config.batch,
            wait=config.batch_wait_ms / 1000,
            max_pixels=config.max_pixels,
        )
        largest = max(config.max_bytes, batch_bytes(config) if not config.no_spool else 0)
        admission = Admission(
            config.queue,
            max(_LARGEST_AT_ONCE * config.max_bytes, largest + config.max_bytes),
            queue.seconds_each,
            _PATIENCE * config.timeout,
        )
        service = cls(config, pipeline, engine, queue, admission, keys, telemetry, None, skin)
        if not config.no_spool:
            service.jobs = Jobs(
                Spool(config.spool),
                queue,
                service.plain_answer,
                limits=(config.max_bytes, config.max_pixels),
                most=config.spool_images,
                keep=60 * config.keep_minutes,
                telemetry=telemetry,
            )
        log.info(
            "loaded",
            extra={"fields": {"model": pipeline.classifier.name, "workers": workers,
                              "warm_up_seconds": round(warm_up(pipeline), 3), "skin_check": skin}},
        )  # fmt: skip
        return service

    @property
    def reference(self) -> SkinReference | None:
        """The known lesions of the skin check."""
        return None if self.engine.skin is None else self.engine.skin.reference

    def plain_answer(self, looked: Looked) -> dict[str, Any]:
        """Return the answer to a photograph as JSON-ready values, without pictures."""
        return prediction(looked, self.pipeline, self.reference).model_dump(mode="json")

    async def look(
        self, data: bytes, metadata: dict[str, Any], kind: Literal["predict", "explain"] = "predict"
    ) -> Looked:
        """Return what comes of a photograph.

        Raises
        ------
        Refusal
            As of `looked_at` and `PhotoEngine.run`; 429 when nobody came to it in time, 504 when
            the work took too long.
        """
        limits = self.config.max_bytes, self.config.max_pixels
        _, width, height = await asyncio.to_thread(looked_at, data, *limits)
        work = Work(data, width * height, metadata, kind)
        future = self.queue.submit(work)
        try:
            async with asyncio.timeout(self.config.timeout):
                return await asyncio.wrap_future(future)  # type: ignore[no-any-return]
        except TimeoutError:
            if not work.started:
                waited = f"it waited for {self.config.timeout:g} s"
                raise self.admission.overloaded(waited) from None
            raise Refusal(
                504, "timeout", f"no answer within {self.config.timeout:g} s",
                mend="ask again later, or a smaller photograph", retry_after=5,
            ) from None  # fmt: skip

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Run the threads and jobs; at the end whoever is inside is answered first."""
        self.queue.start()
        if self.jobs is not None:
            await self.jobs.start()
        try:
            yield
        finally:
            self.admission.closed = True
            await self.admission.emptied()
            # First the queue: what a job has in work is finished and written.
            await asyncio.to_thread(self.queue.close)
            if self.jobs is not None:
                await self.jobs.stop()
            log.info("ended")

    def refresh_gauges(self) -> None:
        """Bring the figures that are not counted up to date."""
        self.telemetry.waiting.set(len(self.queue))
        self.telemetry.inside.set(self.admission.inside)
        self.telemetry.held.set(self.admission.held)
        if self.jobs is not None:
            self.jobs.count()


def batch_bytes(config: ServeConfig) -> int:
    """Return the largest upload of a batch job: as many images as allowed, a tenth of the largest
    each."""
    return max(config.max_bytes, config.batch_images * config.max_bytes // 10)


def _pipeline(
    config: ServeConfig, segmenter: Path | None, classifier: Path | None
) -> tuple[LesionPipeline, int]:
    """Return the pipeline and how many threads compute with it."""
    from pipelines.pipeline import LesionPipeline

    workers = config.workers if config.workers > 0 else min(core_count(), _MOST_WORKERS)
    if config.workers == 0:
        raise UsageError("--workers is 0", wanted="1 or more, or -1")
    threads = max(1, core_count() // workers)
    if segmenter is not None and segmenter == classifier:
        from pipelines.bundle import load_bundle

        return load_bundle(
            segmenter, engine=config.engine, threads=threads,
            calibration=config.calibration, prevalence=config.prevalence,
        ), workers  # fmt: skip
    import torch

    pipeline = LesionPipeline.load(
        segmenter, classifier, tta=config.tta, device=config.device, precision=config.precision,
        calibration=config.calibration, prevalence=config.prevalence,
    )  # fmt: skip
    classifier_on: Any = pipeline.classifier
    if classifier_on.device.type != "cpu":
        return pipeline, max(1, config.workers)
    torch.set_num_threads(threads)
    return pipeline, workers


def _skin_check(
    config: ServeConfig, pipeline: LesionPipeline, classifier: Path | None
) -> tuple[SkinCheck | None, str]:
    """Return the check by known lesions, None where there is none, and what is done in words."""
    if config.skin_check == "off":
        return None, "off"
    if config.skin_check == "auto":
        from weights.resolve import resolve

        home = resolve(classifier, kind="classifier")
        path = (home if home.is_dir() else home.parent) / FILE
        if not path.is_file():
            return None, f"pixels only: no {FILE} beside the classifier"
    else:
        path = Path(config.skin_check)
    reference = read_reference(path)
    trained: Any = pipeline.classifier
    if not hasattr(trained, "device"):
        if config.skin_check == "auto":
            return None, "pixels only: an exported classifier has no embedding"
        raise LesionError(
            f"--skin-check {path} with an exported classifier, which has no embedding",
            wanted="the classifier that it was exported from, or --skin-check auto",
        )
    check = SkinCheck(reference, trained.members[0], trained.device)
    rate = reference.card["false_refusals"]
    return check, f"on: refuses {rate:.1%} of lesions like those of {reference.card['made_of']}"
