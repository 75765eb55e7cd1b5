"""The routes of batch jobs."""

from __future__ import annotations

import asyncio
import datetime
import re
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from pipelines.serving.answers import Accepted, Job, JobItem, Refused
from pipelines.serving.picture_files import looked_at, without_metadata
from pipelines.serving.refusals import Refusal
from pipelines.serving.routes import FILE, REFUSALS, Held, form_docs, with_key
from pipelines.serving.service import Service, batch_bytes
from pipelines.serving.spool import SpooledJob
from pipelines.serving.uploads import Form, metadata_of, reading, rows_of

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")

job_routes = APIRouter(dependencies=[Depends(with_key)], responses={401: REFUSALS[401]})


@job_routes.post(
    "/predict/batch",
    status_code=202,
    response_model=Accepted,
    responses={**REFUSALS, 501: {"model": Refused, "description": "a server without a spool"}},
    openapi_extra=form_docs(
        {
            "images": {"type": "array", "items": FILE},
            "metadata": {
                "type": "string",
                "description": "JSON list, one object an image in their order, with any of id, "
                "age, sex, site",
            },
        },
        "images",
    ),
    tags=["jobs"],
)
async def predict_batch(request: Request, response: Response, service: Held) -> Accepted:
    """Take on many photographs. The answer names a job; look there for what came of them."""
    config, jobs = service.config, service.jobs
    if jobs is None:
        raise Refusal(
            501, "no_spool", "this server keeps nothing on disk, and so takes on no batches",
            mend="one POST /predict for each image, or a server without --no-spool",
        )  # fmt: skip
    with service.admission.entered():
        async with reading(
            request, service.admission, field="images", most=config.batch_images,
            max_bytes=batch_bytes(config), seconds=4 * config.timeout,
        ) as form:  # fmt: skip
            metadata, ids = _batch_metadata(form, service)
            bare = await asyncio.to_thread(_bare, form.images, service)
            job = await jobs.add(bare, metadata, ids, service.admission)
    response.headers["Location"] = f"/jobs/{job.name}"
    return Accepted(job=job.name, images=len(job.ids), href=f"/jobs/{job.name}")


def _batch_metadata(form: Form, service: Service) -> tuple[list[dict[str, Any]], list[str | None]]:
    unknown = sorted(set(form.fields) - {"metadata"})
    if unknown:
        raise Refusal(422, "unknown_field", "an unknown field", wanted="images and metadata")
    rows = rows_of(form.fields.get("metadata", ""), len(form.images))
    ids: list[str | None] = []
    for row in rows:
        name = row.pop("id", None)
        if name is not None and not (isinstance(name, str) and _ID.match(name)):
            raise Refusal(
                422, "bad_metadata", "an id that is none",
                wanted="up to 64 letters, digits, dots, dashes and underscores",
            )  # fmt: skip
        ids.append(name)
    columns = service.pipeline.classifier.metadata_columns
    return [metadata_of(row, columns) for row in rows], ids


def _bare(images: list[bytes], service: Service) -> list[bytes]:
    """Return images without metadata; one that cannot be read is kept as it is, and refused later.

    What is kept is checked again when its turn comes, by the same limits.
    """
    found = []
    for data in images:
        try:
            looked_at(data, service.config.max_bytes, service.config.max_pixels)
            found.append(without_metadata(data))
        except Exception:
            # Its first bytes tell as much of why as all of it.
            found.append(data[:64])
    return found


@job_routes.get(
    "/jobs/{name}", response_model=Job, responses={404: {"model": Refused}}, tags=["jobs"]
)
async def job(name: str, service: Held) -> Job:
    """Say what came of the photographs of a batch so far."""
    found = _jobs(service).get(name)
    results = await asyncio.to_thread(_jobs(service).spool.results, found)
    return _job(found, results)


@job_routes.delete(
    "/jobs/{name}", status_code=204, responses={404: {"model": Refused}}, tags=["jobs"]
)
async def delete_job(name: str, service: Held) -> None:
    """Delete a job with its images and results, before their hour is over."""
    await _jobs(service).remove(name)


def _jobs(service: Service) -> Any:
    if service.jobs is None:
        raise Refusal(404, "no_such_job", "no such job: this server takes on no batches")
    return service.jobs


def _job(found: SpooledJob, results: dict[int, dict[str, Any]]) -> Job:
    items = [
        JobItem(index=index, id=name, **results.get(index, {"status": "waiting"}))
        for index, name in enumerate(found.ids)
    ]
    return Job(
        job=found.name,
        state="working" if found.waiting else "done",
        created=_when(found.created),
        finished=None if found.finished is None else _when(found.finished),
        images=len(found.ids),
        counts=found.counts(),
        items=items,
    )


def _when(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="seconds")
