"""The routes of single photographs and of the server itself; what all routes share."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from lesioncore.runs import now, tool_version
from lesioncore.sites import SEXES, SITES
from pipelines.pipeline import NOTICE
from pipelines.serving import answers
from pipelines.serving.answers import ExplanationAnswer, Prediction, Refused
from pipelines.serving.engine import Looked
from pipelines.serving.refusals import Refusal
from pipelines.serving.service import Service
from pipelines.serving.uploads import metadata_of, reading

_KNOWN = {
    "age": {"type": "string", "description": "years, 0 to 130; empty for unknown"},
    "sex": {"type": "string", "description": f"{' or '.join(SEXES)}; empty for unknown"},
    "site": {
        "type": "string",
        "description": f"one of {', '.join(SITES)}, or a part of the body such as back or face; "
        "empty for unknown",
    },
}
FILE = {"type": "string", "format": "binary"}
#: What every route may answer, for the documentation of the API.
REFUSALS: dict[int | str, dict[str, Any]] = {
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
routes = APIRouter(dependencies=[Depends(with_key)], responses={401: REFUSALS[401]})


def form_docs(properties: dict[str, Any], required: str) -> dict[str, Any]:
    """Return what the documentation of the API says of a form."""
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
    responses=REFUSALS,
    openapi_extra=form_docs({"image": FILE, **_KNOWN}, "image"),
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
    responses={**REFUSALS, 501: {"model": Refused, "description": "an exported classifier"}},
    openapi_extra=form_docs({"image": FILE, **_KNOWN}, "image"),
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
