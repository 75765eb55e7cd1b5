"""The application: routes, page, documentation of the API, and what happens around each request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lesioncore.runs import tool_version
from pipelines.pipeline import NOTICE
from pipelines.serving.job_routes import job_routes
from pipelines.serving.page import page_route
from pipelines.serving.refusals import Refusal
from pipelines.serving.routes import open_routes, routes
from pipelines.serving.service import Service

_log = logging.getLogger("lesion")
_STATIC = Path(__file__).parent / "static"
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The page of the API carries a script of its own.
_DOCS_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# What is read of an upload that is refused, so that the client gets to read why.
_DRAINED_BYTES, _DRAINED_SECONDS = 4_000_000, 2.0


def create_app(service: Service) -> FastAPI:
    """Return the application that answers with a service."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None, None]:
        async with service.running():
            yield

    app = FastAPIOffline(
        title="Lesion pipeline",
        version=tool_version(),
        description=f"From a photograph of a skin lesion to a mask, a crop and a probability of "
        f"malignancy. **{NOTICE[0].upper()}{NOTICE[1:]}.**",
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    app.include_router(open_routes)
    app.include_router(routes)
    app.include_router(job_routes)
    app.include_router(page_route)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _refused_by_the_framework)
    app.add_exception_handler(RequestValidationError, _refused_by_its_query)
    # The last one added is the outermost.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=service.config.allow_origin,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "X-API-Key"],
        expose_headers=["Retry-After", "Server-Timing", "X-Request-ID", "Location"],
    )
    app.add_middleware(Around, service=service)
    return app


def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)
    request.state.code = error.code
    return JSONResponse(error.body(), error.status, headers=error.headers())


def _refused_by_the_framework(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = {404: "no_such_page", 405: "wrong_method"}.get(error.status_code, "refused")
    return _refused(request, Refusal(error.status_code, code, str(error.detail).lower()))


def _refused_by_its_query(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    found = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return _refused(request, Refusal(422, "bad_query", found))


class Around:
    """What happens around each request: a number for it, its origin, headers, log line, figures.

    Parameters
    ----------
    app : ASGIApp
    service : Service
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        scope.setdefault("state", {})["code"] = ""
        try:
            if _foreign(Headers(scope=scope), scope, self.service.config.allow_origin):
                foreign = Refusal(403, "foreign_origin", "a page of another origin asks",
                                  mend="--allow-origin names those that may")  # fmt: skip
                answer = _refused(Request(scope), foreign)
                await answer(scope, exchange.receive, exchange.send)
            else:
                await self.app(scope, exchange.receive, exchange.send)
        except Exception as error:
            _log.error("fault", exc_info=error, extra={"fields": {"request": exchange.name}})
            if exchange.status == 0:
                fault = Refusal(500, "fault", "a fault of the program",
                                mend=f"the log tells more of request {exchange.name}")  # fmt: skip
                answer = _refused(Request(scope), fault)
                await answer(scope, exchange.receive, exchange.send)
        finally:
            self._tell(scope, exchange)

    def _tell(self, scope: Scope, exchange: _Exchange) -> None:
        # The template, not the path: who knows the name of a job may read it.
        route = getattr(scope.get("route"), "path", "other")
        seconds = time.perf_counter() - exchange.start
        code = scope["state"]["code"]
        telemetry = self.service.telemetry
        telemetry.requests.labels(route, str(exchange.status)).inc()
        telemetry.request_seconds.labels(route).observe(seconds)
        if code:
            telemetry.refused.labels(code).inc()
        fields: dict[str, Any] = {
            "request": exchange.name, "method": scope["method"], "route": route,
            "status": exchange.status, "ms": round(1000 * seconds, 1), "bytes": exchange.read,
        }  # fmt: skip
        _log.info("request", extra={"fields": fields | ({"code": code} if code else {})})


class _Exchange:
    """A request and its answer on their way through."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.name = secrets.token_hex(8)
        self.start = time.perf_counter()
        self.status = 0
        self.read = 0
        self._scope, self._receive, self._send = scope, receive, send
        self._whole = scope["method"] in ("GET", "HEAD")

    async def receive(self) -> Message:
        message = await self._receive()
        self.read += len(message.get("body", b""))
        self._whole = self._whole or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.status >= 400:
                await self._drain()
            headers = MutableHeaders(scope=message)
            docs = self._scope["path"].startswith(("/docs", "/static-offline-docs"))
            headers["X-Request-ID"] = self.name
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "no-referrer"
            headers["Content-Security-Policy"] = _DOCS_POLICY if docs else _PAGE_POLICY
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)

    async def _drain(self) -> None:
        """Read what is left of a refused upload, up to a limit."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAINED_SECONDS):
                while not self._whole and self.read < _DRAINED_BYTES:
                    await self.receive()


def _foreign(headers: Headers, scope: Scope, allowed: list[str]) -> bool:
    """Whether a page of another origin sends something: a browser asks nobody before it does."""
    origin = headers.get("origin")
    if origin is None or scope["method"] in ("GET", "HEAD", "OPTIONS") or origin in allowed:
        return False
    return urlsplit(origin).netloc != headers.get("host")
