"""Figures for Prometheus, and log lines as JSON. Neither holds a word of a patient."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from lesioncore.runs import now, tool_version

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


@dataclass
class Timed:
    """How long a block took, once it ended."""

    seconds: float = 0.0


class Telemetry:
    """The figures of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        kept: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter(
            "lesion_requests", "Requests by route and status", ["route", "status"], **kept
        )
        self.request_seconds = Histogram(
            "lesion_request_seconds", "Time from the head of a request to its answer", ["route"],
            buckets=_SECONDS, **kept,
        )  # fmt: skip
        self.stage_seconds = Histogram(
            "lesion_stage_seconds", "Time of a step, of a batch or of one photograph", ["stage"],
            buckets=_SECONDS, **kept,
        )  # fmt: skip
        self.batch_size = Histogram(
            "lesion_batch_size", "Photographs that were looked at together", buckets=_SIZES, **kept
        )
        self.refused = Counter("lesion_refused", "Refusals by code", ["code"], **kept)
        self.not_skin = Counter("lesion_not_skin", "Pictures that are no skin lesion", **kept)
        self.waiting = Gauge("lesion_queue_length", "Photographs that wait", **kept)
        self.inside = Gauge("lesion_requests_inside", "Requests that wait or are in work", **kept)
        self.held = Gauge("lesion_upload_bytes", "Bytes of uploads in memory", **kept)
        self.jobs = Gauge("lesion_jobs", "Batch jobs by state", ["state"], **kept)
        self.job_images = Counter(
            "lesion_job_images", "Images of jobs by status", ["status"], **kept
        )
        version = Gauge("lesion_build_info", "Version of the tool", ["version"], **kept)
        version.labels(tool_version()).set(1)

    @contextmanager
    def timed(self, stage: str) -> Iterator[Timed]:
        """Measure a step."""
        start, found = time.perf_counter(), Timed()
        try:
            yield found
        finally:
            found.seconds = time.perf_counter() - start
            self.stage_seconds.labels(stage).observe(found.seconds)

    def text(self) -> bytes:
        """Return the figures in Prometheus' text form."""
        return generate_latest(self.registry)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, event, and the fields in the record's `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        said = {"time": now(), "level": record.levelname.lower(), "event": record.getMessage()}
        said |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0] is not None:
            # The words of an exception may hold what was sent; its kind and place do not.
            trace = record.exc_info[2]
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            where = "" if trace is None else f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"
            said |= {"error": record.exc_info[0].__name__, "at": where}
        return json.dumps(said, ensure_ascii=False, default=str)


def log_as_json() -> None:
    """Send every log line of this process to stderr as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("lesion", "uvicorn", "uvicorn.error", "py.warnings"):
        logger = logging.getLogger(name)
        logger.handlers = [] if name == "uvicorn.error" else [handler]
        logger.propagate = name == "uvicorn.error"
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.captureWarnings(True)
