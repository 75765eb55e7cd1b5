"""The page for people."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lesioncore.sites import SEXES, SITES
from pipelines.serving import answers
from pipelines.serving.routes import Held

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
)

page_route = APIRouter()


@page_route.get("/", response_class=HTMLResponse, include_in_schema=False)
async def page(service: Held) -> HTMLResponse:
    """Return the page on which a photograph is dropped."""
    pipeline, config = service.pipeline, service.config
    means = pipeline.classifier.calibration
    return HTMLResponse(
        _TEMPLATES.get_template("page.html.j2").render(
            model=pipeline.classifier.name,
            segmenter=answers.segmenter_name(pipeline),
            policy=pipeline.classifier.policy,
            columns=pipeline.classifier.metadata_columns,
            sexes=SEXES,
            sites=SITES,
            key_needed=bool(service.keys),
            explains=service.engine.explains,
            calibrated=means is not None,
            prevalence=None if means is None else means.prevalence,
            sensitivity=None if means is None or means.operating_point is None
            else means.operating_point.wanted,
            skin=service.skin,
            max_megabytes=config.max_megabytes,
        )
    )  # fmt: skip
