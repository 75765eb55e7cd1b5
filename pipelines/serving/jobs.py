"""Batch jobs at work: what the spool holds is fed to the queue whenever no request waits."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from lesioncore.errors import LesionError
from lesioncore.progress import log
from pipelines.serving.admission import Admission
from pipelines.serving.engine import Looked
from pipelines.serving.picture_files import looked_at
from pipelines.serving.refusals import Refusal
from pipelines.serving.spool import Spool, SpooledJob
from pipelines.serving.telemetry import Telemetry
from pipelines.serving.work_queue import Work, WorkQueue

_SWEEP_SECONDS = 15.0


class Jobs:
    """The jobs of a server.

    Parameters
    ----------
    spool : Spool
    queue : WorkQueue
    answer : callable
        Makes JSON-ready values of a `Looked`.
    limits : (int, int)
        Largest file in bytes and largest image in pixels.
    most : int
        Images that may wait, of all jobs together.
    keep : float
        Seconds that images are kept at most, and results after the last of them.
    telemetry : Telemetry
    """

    def __init__(
        self,
        spool: Spool,
        queue: WorkQueue,
        answer: Callable[[Looked], dict[str, Any]],
        *,
        limits: tuple[int, int],
        most: int,
        keep: float,
        telemetry: Telemetry,
    ) -> None:
        self.spool = spool
        self.queue = queue
        self.answer = answer
        self.limits = limits
        self.most = most
        self.keep = keep
        self.telemetry = telemetry
        self._jobs: dict[str, SpooledJob] = {}
        self._todo: asyncio.Queue[tuple[SpooledJob, int]] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Take up what an earlier server left, and begin."""
        for job in await asyncio.to_thread(self.spool.jobs):
            self._take_up(job)
        await self._delete_old()
        left = self.waiting
        if left:
            log.info("jobs_taken_up", extra={"fields": {"images": left}})
        # Two batches: one in work, one ready.
        self._tasks = [asyncio.create_task(self._work()) for _ in range(2 * self.queue.size)]
        self._tasks.append(asyncio.create_task(self._sweep()))

    async def stop(self) -> None:
        """Leave what is not done to the next server."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self.spool.close)

    @property
    def waiting(self) -> int:
        """How many images of all jobs have no result."""
        return sum(len(job.waiting) for job in self._jobs.values())

    async def add(
        self,
        images: list[bytes],
        metadata: list[dict[str, Any]],
        ids: list[str | None],
        admission: Admission,
    ) -> SpooledJob:
        """Take on a job.

        Raises
        ------
        Refusal
            429 when too many images wait, 503 when the spool cannot be written.
        """
        if self.waiting + len(images) > self.most:
            raise admission.overloaded(f"{self.waiting} images of jobs wait", "jobs_full")
        try:
            job = await asyncio.to_thread(self.spool.add, images, metadata, ids)
        except LesionError as error:
            log.error("spool_failed", extra={"fields": {"found": error.found}})
            raise Refusal(
                503, "spool_failed", "the job could not be kept", retry_after=30
            ) from error
        self._take_up(job)
        return job

    def get(self, name: str) -> SpooledJob:
        """Return a job.

        Raises
        ------
        Refusal
            404.
        """
        if name not in self._jobs:
            raise Refusal(
                404, "no_such_job", "no such job",
                wanted=f"a job of the last hour: results are deleted {self.keep / 60:g} minutes "
                "after the last of them",
            )  # fmt: skip
        return self._jobs[name]

    async def remove(self, name: str) -> None:
        """Delete a job with its images and results."""
        job = self.get(name)
        del self._jobs[name]
        await asyncio.to_thread(self.spool.remove, job)

    def count(self) -> None:
        """Tell the telemetry how many jobs are in which state."""
        states = Counter("done" if job.finished else "working" for job in self._jobs.values())
        for state in ("working", "done"):
            self.telemetry.jobs.labels(state).set(states[state])

    def _take_up(self, job: SpooledJob) -> None:
        self._jobs[job.name] = job
        for index in job.waiting:
            self._todo.put_nowait((job, index))

    async def _work(self) -> None:
        while True:
            job, index = await self._todo.get()
            if job.name not in self._jobs or index in job.status:
                continue
            try:
                result = await self._result(job, index)
            except asyncio.CancelledError:
                await asyncio.shield(asyncio.to_thread(self.spool.put_back, job, index))
                raise
            if job.name in self._jobs and index not in job.status:
                await self._finish(job, index, result)

    async def _result(self, job: SpooledJob, index: int) -> dict[str, Any]:
        try:
            data, metadata = await asyncio.to_thread(self.spool.begin, job, index)
            _, width, height = looked_at(data, *self.limits)
            work = Work(data, width * height, metadata)
            looked = await asyncio.wrap_future(self.queue.submit_background(work))
            prediction = await asyncio.to_thread(self.answer, looked)
            return {"status": "done", "prediction": prediction}
        except Refusal as refusal:
            if refusal.code == "shutting_down":
                raise asyncio.CancelledError from None
            return {"status": "refused", "error": refusal.body()["error"]}
        except LesionError as error:
            return {"status": "failed", "error": Refusal.of(error, 500, "failed").body()["error"]}
        except Exception as error:
            log.error("job_item_failed", exc_info=error)
            fault = Refusal(500, "fault", "a fault of the program")
            return {"status": "failed", "error": fault.body()["error"]}

    async def _finish(self, job: SpooledJob, index: int, result: dict[str, Any]) -> None:
        try:
            await asyncio.to_thread(self.spool.finish, job, index, result)
        except LesionError as error:
            # Its image is still there: a later start does it again.
            log.error("spool_failed", extra={"fields": {"found": error.found}})
            return
        self.telemetry.job_images.labels(result["status"]).inc()
        if job.finished:
            fields = {"images": len(job.ids), **job.counts()}
            log.info("job_done", extra={"fields": fields})

    async def _sweep(self) -> None:
        """Delete what has been kept long enough; images without a result are reported as such."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            await self._delete_old()

    async def _delete_old(self) -> None:
        now = time.time()
        for job in list(self._jobs.values()):
            if job.finished is not None:
                if now - job.finished > self.keep:
                    await self.remove(job.name)
            elif now - job.created > self.keep:
                await self._expire(job)

    async def _expire(self, job: SpooledJob) -> None:
        expired = Refusal(
            500, "expired", f"not looked at within {self.keep / 60:g} minutes; it is deleted",
            mend="smaller batches, or a faster machine",
        )  # fmt: skip
        for index in job.waiting:
            result = {"status": "expired", "error": expired.body()["error"]}
            await self._finish(job, index, result)
