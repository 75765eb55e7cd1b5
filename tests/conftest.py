"""Shared fixtures: where real data lies, and quiet single-threaded arithmetic."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _log_lines_reach_caplog(caplog: pytest.LogCaptureFixture):
    """Let `caplog` see the project's logger, whatever a command set up before."""
    log = logging.getLogger("lesion")
    before = log.propagate
    log.propagate = True
    caplog.set_level(logging.INFO, logger="lesion")
    yield
    log.propagate = before


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
