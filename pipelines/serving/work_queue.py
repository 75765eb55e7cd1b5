"""A bounded queue of photographs, and the threads that take them from it in batches."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

from pipelines.serving.refusals import Refusal


@dataclass(eq=False)
class Work:
    """One photograph to look at.

    Attributes
    ----------
    data : bytes
        The image file.
    pixels : int
        How many it has.
    metadata : dict
        age, sex, site.
    kind : str
        "predict", or "explain", which is never part of a batch.
    future : Future
        Of what the engine makes of it.
    queued, started : float
        `time.perf_counter` when it came and when it was taken.
    """

    data: bytes
    pixels: int
    metadata: dict[str, Any]
    kind: Literal["predict", "explain"] = "predict"
    future: Future[Any] = field(default_factory=Future)
    queued: float = field(default_factory=time.perf_counter)
    started: float = 0.0


class WorkQueue:
    """Gathers work into batches and has it done by threads.

    Parameters
    ----------
    run : callable
        Is given a list of `Work` and sets the result or the exception of every future.
    workers : int
        Threads.
    size : int
        Most photographs of a batch.
    wait : float
        Seconds that the first of a batch waits for others.
    max_pixels : int
        A batch takes no further photograph once it holds so many: what is decoded at once is
        bounded.
    """

    def __init__(
        self,
        run: Callable[[list[Work]], None],
        *,
        workers: int,
        size: int,
        wait: float,
        max_pixels: int,
    ) -> None:
        self.run = run
        self.size = size
        self.wait = wait
        self.max_pixels = max_pixels
        self.workers = workers
        #: Moving mean of the seconds that one photograph takes a worker.
        self.pace = 0.2
        self._changed = threading.Condition()
        self._front: deque[Work] = deque()
        self._back: deque[Work] = deque()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._loop, name=f"worker-{number}", daemon=True)
            for number in range(workers)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def __len__(self) -> int:
        """Return how much work waits, background work included."""
        return len(self._front) + len(self._back)

    def submit(self, work: Work) -> Future[Any]:
        """Queue the work of a request that was admitted.

        Raises
        ------
        Refusal
            503 once closed.
        """
        return self._put(self._front, work)

    def submit_background(self, work: Work) -> Future[Any]:
        """Queue work that is done when no request waits; it is given up when closed."""
        return self._put(self._back, work)

    def seconds_each(self) -> float:
        """Return the seconds that one photograph takes all workers together, of late."""
        return self.pace / self.workers

    def close(self) -> None:
        """Do what requests wait for, give up background work, end the threads."""
        with self._changed:
            self._closed = True
            left = list(self._back)
            self._back.clear()
            self._changed.notify_all()
        for work in left:
            work.future.cancel()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _put(self, line: deque[Work], work: Work) -> Future[Any]:
        with self._changed:
            if self._closed:
                raise closing()
            line.append(work)
            self._changed.notify_all()
        return work.future

    def _loop(self) -> None:
        while (batch := self._take()) is not None:
            # A request that was given up is not looked at.
            batch = [work for work in batch if work.future.set_running_or_notify_cancel()]
            if not batch:
                continue
            now = time.perf_counter()
            for work in batch:
                work.started = now
            self._do(batch)
            if batch[0].kind == "predict":
                spent = (time.perf_counter() - now) / len(batch)
                self.pace += 0.3 * (spent - self.pace)

    def _do(self, batch: list[Work]) -> None:
        try:
            self.run(batch)
        except BaseException as error:  # the engine answers for each; this is a fault of its own
            left = [work for work in batch if not work.future.done()]
            if len(batch) == 1:
                for work in left:
                    work.future.set_exception(error)
                return
            # One photograph that nothing can be made of is not the fault of the others.
            for work in left:
                self._do([work])

    def _take(self) -> list[Work] | None:
        """Return the next batch, None at the end."""
        with self._changed:
            while not self._front and not self._back:
                if self._closed:
                    return None
                self._changed.wait()
            batch: list[Work] = []
            until = time.monotonic() + self.wait
            self._fill(batch, self._front)
            # Background work alone is not waited with.
            while batch and not self._front and self._has_room(batch) and not self._closed:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
                self._fill(batch, self._front)
            self._fill(batch, self._back)
            return batch

    def _fill(self, batch: list[Work], line: deque[Work]) -> None:
        """Move what fits from the head of a line into the batch."""
        while line and self._has_room(batch, line[0]):
            batch.append(line.popleft())

    def _has_room(self, batch: list[Work], work: Work | None = None) -> bool:
        """Whether a batch can take this work, or any at all."""
        if not batch:
            return True
        if len(batch) >= self.size or batch[0].kind == "explain":
            return False
        held = sum(one.pixels for one in batch)
        if work is None:
            return held < self.max_pixels
        return work.kind == "predict" and held + work.pixels <= self.max_pixels


def closing() -> Refusal:
    """Return the refusal of a server that is about to end."""
    return Refusal(
        503, "shutting_down", "this server is about to end", mend="ask again in a few seconds",
        retry_after=5,
    )  # fmt: skip
