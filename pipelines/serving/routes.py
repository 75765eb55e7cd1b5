"""The routes of the API."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from lesioncore.runs import now, tool_version
from lesioncore.sites import SEXES, SITES
from pipelines.pipeline import NOTICE
from pipelines.serving import answers
from pipelines.serving.answers import Accepted, ExplanationAnswer, Job, JobItem, Prediction, Refused
from pipelines.serving.engine import Looked
from pipelines.serving.picture_files import looked_at, without_metadata
from pipelines.serving.refusals import Refusal
from pipelines.serving.service import Service, batch_bytes
from pipelines.serving.spool import SpooledJob
from pipelines.serving.uploads import Form, metadata_of, reading, rows_of

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_KNOWN = {
    "age": {"type": "string", "description": "years, 0 to 130; empty for unknown"},
    "sex": {"type": "string", "description": f"{' or '.join(SEXES)}; empty for unknown"},
    "site": {
        "type": "string",
        "description": f"one of {', '.join(SITES)}, or a part of the body such as back or face; "
        "empty for unknown",
    },
}
_FILE = {"type": "string", "format": "binary"}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refused, "description": text}
    for status, text in {
        400: "the form cannot be read",
        401: "no key, or an unknown one",
        413: "too many bytes or pixels",
        415: "no image of a known format",
        422: "an unreadable image, bad metadata, or no skin lesion",
        429: "too many requests; Retry-After says when to come again",
        503: "this server is about to end",
        504: "no answer in time",
    }.items()
}


def service_of(request: Request) -> Service:
    """Return what the server holds."""
    return request.app.state.service  # type: ignore[no-any-return]


Held = Annotated[Service, Depends(service_of)]


def with_key(
    request: Request,
    service: Held,
    _bearer: Annotated[Any, Security(HTTPBearer(auto_error=False))] = None,
    _header: Annotated[Any, Security(APIKeyHeader(name="X-API-Key", auto_error=False))] = None,
) -> None:
    """Refuse a request without a key, where one is needed."""
    service.keys.check(request.headers.get("authorization"), request.headers.get("x-api-key"))


open_routes = APIRouter()
routes = APIRouter(dependencies=[Depends(with_key)], responses={401: _REFUSALS[401]})


def _form_docs(properties: dict[str, Any], required: str) -> dict[str, Any]:
    schema = {"type": "object", "required": [required], "properties": properties}
    return {"requestBody": {"content": {"multipart/form-data": {"schema": schema}}}}


async def _looked(request: Request, service: Service, kind: Any) -> Looked:
    """Read the form of one photograph and have it looked at."""
    config = service.config
    async with reading(
        request, service.admission, field="image", most=1, max_bytes=config.max_bytes,
        seconds=config.timeout,
    ) as form:  # fmt: skip
        metadata = metadata_of(form.fields, service.pipeline.classifier.metadata_columns)
        return await service.look(form.images[0], metadata, kind)


def _timing(looked: Looked) -> str:
    return ", ".join(f"{name};dur={1000 * took:.1f}" for name, took in looked.seconds.items())


@routes.post(
    "/predict",
    response_model=Prediction,
    responses=_REFUSALS,
    openapi_extra=_form_docs({"image": _FILE, **_KNOWN}, "image"),
    tags=["predict"],
)
async def predict(
    request: Request,
    response: Response,
    service: Held,
    mask: Annotated[bool, Query(description="send the mask too, as PNG")] = False,
    pictures: Annotated[bool, Query(description="send photograph and crop too, as JPEG")] = False,
) -> Prediction:
    """Give one photograph a probability of malignancy. Research use, not a diagnosis."""
    with service.admission.entered():
        looked = await _looked(request, service, "predict")
        response.headers["Server-Timing"] = _timing(looked)
        return await asyncio.to_thread(
            answers.prediction, looked, service.pipeline, service.reference, mask=mask,
            pictures=pictures,
        )  # fmt: skip


@routes.post(
    "/explain",
    response_model=ExplanationAnswer,
    responses={**_REFUSALS, 501: {"model": Refused, "description": "an exported classifier"}},
    openapi_extra=_form_docs({"image": _FILE, **_KNOWN}, "image"),
    tags=["predict"],
)
async def explain(request: Request, response: Response, service: Held) -> ExplanationAnswer:
    """Show what the probability of one photograph rests on. Takes some times as long."""
    if not service.engine.explains:
        raise Refusal(
            501, "no_explanations", "an exported classifier has no gradients to explain it by",
            wanted="a server that runs the trained classifier",
        )  # fmt: skip
    with service.admission.entered():
        looked = await _looked(request, service, "explain")
        response.headers["Server-Timing"] = _timing(looked)
        return await asyncio.to_thread(answers.explanation, looked)


@routes.post(
    "/predict/batch",
    status_code=202,
    response_model=Accepted,
    responses={**_REFUSALS, 501: {"model": Refused, "description": "a server without a spool"}},
    openapi_extra=_form_docs(
        {
            "images": {"type": "array", "items": _FILE},
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


@routes.get("/jobs/{name}", response_model=Job, responses={404: {"model": Refused}}, tags=["jobs"])
async def job(name: str, service: Held) -> Job:
    """Say what came of the photographs of a batch so far."""
    found = _jobs(service).get(name)
    results = await asyncio.to_thread(_jobs(service).spool.results, found)
    return _job(found, results)


@routes.delete("/jobs/{name}", status_code=204, responses={404: {"model": Refused}}, tags=["jobs"])
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


@routes.get("/model", tags=["server"])
async def model(service: Held) -> dict[str, Any]:
    """Say which models answer, what they are for and not for, and what their numbers mean."""
    pipeline: Any = service.pipeline
    classifier, means = pipeline.classifier, pipeline.classifier.calibration
    reference = service.reference
    return {
        "tool_version": tool_version(),
        "model": classifier.name,
        "segmenter": answers.segmenter_name(pipeline),
        "policy": classifier.policy,
        "classes": list(classifier.target.classes),
        "metadata": list(classifier.metadata_columns),
        "focus": classifier.members[0].view.focus,
        "calibration": None if means is None else _calibration(means),
        "skin_check": {"does": service.skin, **({} if reference is None else reference.card)},
        "explanations": service.engine.explains,
        "cards": _cards(pipeline),
        "notice": NOTICE,
    }


def _calibration(means: Any) -> dict[str, Any]:
    from lesioncore.calibration.text import statement

    values = means.to_dict()
    return {
        "statement": statement(means),
        "threshold": means.threshold,
        "prevalence": means.prevalence,
        **{key: values[key] for key in ("method", "fitted_on", "operating_point", "conformal")},
    }


def _cards(pipeline: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the cards of all members, as far as they are at hand."""
    members = [one.card for one in pipeline.classifier.members if hasattr(one, "card")]
    stages = {"segmenter": getattr(pipeline.segmenter, "cards", []), "classifier": members}
    return {stage: [dataclasses.asdict(card) for card in cards] for stage, cards in stages.items()}


@open_routes.get("/health", tags=["server"])
async def health() -> dict[str, str]:
    """Say that the process is alive."""
    return {"status": "alive", "time": now()}


@open_routes.get("/ready", tags=["server"], responses={503: {"description": "about to end"}})
async def ready(response: Response, service: Held) -> dict[str, Any]:
    """Say whether requests are answered, and what is on."""
    open_now = not service.admission.closed
    response.status_code = 200 if open_now else 503
    return {
        "ready": open_now,
        "skin_check": service.skin,
        "spool": service.jobs is not None,
        "key_needed": bool(service.keys),
        "calibrated": service.pipeline.classifier.calibration is not None,
    }


@routes.get("/metrics", tags=["server"], response_class=Response)
async def metrics(service: Held) -> Response:
    """Return figures in Prometheus' text form."""
    service.refresh_gauges()
    return Response(service.telemetry.text(), media_type="text/plain; version=0.0.4")
