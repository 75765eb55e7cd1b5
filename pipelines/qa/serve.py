"""`lesion qa`: the pages of a round of review, served from this machine."""

from __future__ import annotations

import secrets
import socket
from typing import TYPE_CHECKING

import uvicorn

from lesioncore.cache import MaskCache
from lesioncore.errors import LesionError
from lesioncore.progress import log
from lesioncore.readers import load_manifest
from lesioncore.subsets import choose_subset
from pipelines.qa.app import create_app
from pipelines.qa.assistant import PageAssistant
from pipelines.qa.guard import is_loopback
from pipelines.qa.queue import left_open
from pipelines.qa.round import ReviewRound
from pipelines.qa.store import Store, database_url

if TYPE_CHECKING:
    from pipelines.qa.config import QaConfig


def serve(config: QaConfig) -> int:
    """Serve the pages until they are stopped.

    Raises
    ------
    LesionError
        No cache, no images, no database, or the port is taken.
    """
    review = open_round(config)
    local = is_loopback(config.host)
    key = config.key or (None if local else secrets.token_urlsafe(9))
    assistant = PageAssistant(config.assistant, review.images)
    if assistant.missing:
        log.info("no clicks and boxes: %s", assistant.missing)
    app = create_app(
        review,
        title=f"{config.masks.absolute().name} of {config.dataset}",
        assistant=assistant,
        reviewer=config.reviewer,
        key=key,
        local=local,
    )
    listener = _listen(config.host, config.port)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    log.info("%s; decisions in %s", left_open(review.store), review.store)
    print(f"http://{shown}:{port}/{f'?key={key}' if key else ''}", flush=True)
    settings = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5)
    try:
        uvicorn.Server(settings).run(sockets=[listener])
    except KeyboardInterrupt:
        pass  # the way to stop it
    finally:
        review.store.close()
        log.info("stopped; every decision is kept. The same command goes on; then lesion qa export")
    return 0


def open_round(config: QaConfig) -> ReviewRound:
    """Return the round that a config describes, made or gone on with."""
    cache = MaskCache(config.masks)
    against = MaskCache(config.against) if config.against is not None else None
    manifest = choose_subset(
        load_manifest(config), config.subset, dataset=config.dataset, test_list=config.test_list
    )
    ids = manifest["image_id"].astype(str)
    images = dict(zip(ids, manifest["image"].astype(str), strict=True))
    return ReviewRound(
        Store(database_url(config.db, config.masks)), cache, images, against,
        audit=config.audit, overlap=config.overlap, seed=config.seed,
    )  # fmt: skip


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # From here on a browser is not refused but waits, so that the address may be printed.
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        raise LesionError(
            f"cannot listen at {host}:{port}: {error}", mend="--port 0 takes a free one"
        ) from error
    return listener
