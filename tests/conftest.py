"""Shared fixtures: where real data lies, and quiet single-threaded arithmetic."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _log_lines_reach_caplog(caplog: pytest.LogCaptureFixture):
    """Let `caplog` see the project's logger, whatever a command set up before."""
    from lesioncore.progress import set_up_logging

    log = logging.getLogger("lesion")
    # Else the first command of a test would set them up, and take the lines from `caplog`.
    set_up_logging()
    before, handlers = log.propagate, list(log.handlers)
    log.propagate = True
    caplog.set_level(logging.INFO, logger="lesion")
    yield
    # `lesion serve` puts its own handler in place of the others.
    log.propagate, log.handlers = before, handlers


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real archives: $LESION_DATA, else ../shared/data; the test is skipped without."""
    named = os.environ.get("LESION_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: neither $LESION_DATA nor {folder} is a folder")
    return folder


@pytest.fixture(scope="session")
def gpu() -> None:
    """Skip where there is no CUDA device."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")


# Not for the session: while playwright runs, no other test could run an event loop of its own.
@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Debian's chromium without a window, as a playwright context; the test is skipped without."""
    api = pytest.importorskip("playwright.sync_api", reason="pip install 'lesion-pipeline[test]'")
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no chromium: apt-get install chromium")
    flags = [
        "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ]  # fmt: skip
    with api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("chromium")), executable_path=found, headless=True,
            args=flags, viewport={"width": 1366, "height": 768},
        )  # fmt: skip
        yield context
        context.close()
