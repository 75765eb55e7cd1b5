"""`lesion serve`: both stages behind an HTTP API and a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lesioncore.errors import UsageError
from lesioncore.extras import require
from lesioncore.progress import log

if TYPE_CHECKING:
    from pipelines.serving.config import ServeConfig

_LOCAL = ("127.0.0.1", "::1", "localhost")


def serve(config: ServeConfig) -> int:
    """Serve until SIGTERM or Ctrl-C; return 0 after an ordered end.

    Raises
    ------
    LesionError
        The extra `serve` is not installed, no trained stage, a file that cannot be read.
    UsageError
        Flags that contradict each other.
    """
    require(
        "serve", "fastapi", "fastapi_offline", "prometheus_client", "python_multipart", "uvicorn"
    )
    _check_files(config)
    from pipelines.serving.app import create_app
    from pipelines.serving.server import run_server
    from pipelines.serving.service import Service
    from pipelines.serving.telemetry import log_as_json

    log_as_json()
    if config.host not in _LOCAL and (config.api_key_file is None or config.tls_cert is None):
        log.warning("open to the network without a key, or without TLS")
    service = Service.load(config)
    return run_server(create_app(service), service)


def _check_files(config: ServeConfig) -> None:
    for flag, path in (("tls-cert", config.tls_cert), ("tls-key", config.tls_key)):
        if path is not None and not path.is_file():
            raise UsageError(f"--{flag} {path}: no such file", wanted="a file in PEM")
