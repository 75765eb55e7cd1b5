"""Uvicorn, made to end in good order."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Generator
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from lesioncore.progress import log
from pipelines.pipeline import NOTICE

if TYPE_CHECKING:
    from fastapi import FastAPI

    from pipelines.serving.service import Service

#: Connections at once; beyond it uvicorn itself answers 503.
MOST_CONNECTIONS = 1024
#: After a signal new requests are answered 503 for so long before nobody is let in any more.
DRAIN_SECONDS = 1.0


class Server(uvicorn.Server):
    """Ends on SIGTERM or Ctrl-C: lets nobody in, answers who is inside, and returns.

    A second Ctrl-C ends at once.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service
        self._until: float | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Take over the signals, without passing them on at the end: an ordered end is no fault."""
        usual = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            for number, handler in usual.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end."""
        if self._until is not None and sig == signal.SIGINT:
            self.force_exit = self.should_exit = True
            return
        self.service.admission.closed = True
        if self._until is None:
            self._until = time.monotonic() + DRAIN_SECONDS

    async def on_tick(self, counter: int) -> bool:
        """Look, ten times a second, whether it is time to close the doors."""
        if self._until is not None and time.monotonic() >= self._until:
            self.should_exit = True
        return await super().on_tick(counter)

    async def startup(self, sockets: list[Any] | None = None) -> None:
        """Begin to listen, and say where."""
        await super().startup(sockets)
        if not self.started:
            return
        config = self.service.config
        port = self.servers[0].sockets[0].getsockname()[1]
        shown = f"[{config.host}]" if ":" in config.host else config.host
        address = f"http{'s' if config.tls_cert else ''}://{shown}:{port}"
        log.info("started", extra={"fields": {"address": address}})
        print(f"Open {address} in a browser ({NOTICE}).", flush=True)


def run_server(app: FastAPI, service: Service) -> int:
    """Serve until a signal; return 0 after an ordered end, 1 when it could not begin."""
    config = service.config
    server = Server(
        uvicorn.Config(
            app,
            host=config.host,
            port=config.port,
            ssl_certfile=config.tls_cert,
            ssl_keyfile=config.tls_key,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=10,
            timeout_graceful_shutdown=int(6 * config.timeout),
            lifespan="on",
        ),
        service,
    )
    try:
        server.run()
    except SystemExit:  # uvicorn's, when it cannot listen; its log line says why
        print(f"lesion: error: cannot listen at {config.host}:{config.port}", file=sys.stderr)
        return 1
    return 0 if server.started else 1
