"""What the tests of `lesion serve` share: pictures, a client of a tiny run, a real server."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from pipelines.serving.app import create_app
from pipelines.serving.config import ServeConfig
from pipelines.serving.service import Service

PROGRAM = "import sys; from pipelines.commands import main; sys.exit(main())"


def photographs(root: Path) -> list[bytes]:
    """Return the files of a phantom archive."""
    return [path.read_bytes() for path in sorted((root / "images").iterdir())]


def encoded(pixels: np.ndarray, kind: str = "JPEG", **options: Any) -> bytes:
    """Return pixels as the bytes of an image file."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


@contextlib.contextmanager
def client_of(**flags: Any) -> Iterator[TestClient]:
    """A client of a server in this process."""
    service = Service.load(ServeConfig(device="cpu", **flags))
    with TestClient(create_app(service), raise_server_exceptions=False) as client:
        yield client


def send(client: Any, data: bytes, path: str = "/predict", **fields: str) -> Any:
    """Post one photograph."""
    return client.post(path, files={"image": ("a.jpg", data)}, data=fields)


def send_batch(client: Any, images: list[bytes], rows: list[dict[str, Any]] | None = None) -> Any:
    """Post a batch."""
    data = {} if rows is None else {"metadata": json.dumps(rows)}
    return client.post(
        "/predict/batch", files=[("images", ("x", one)) for one in images], data=data
    )


def finished(client: Any, job: str, seconds: float = 60) -> dict[str, Any]:
    """Return a job once it is done."""
    end = time.monotonic() + seconds
    while (found := client.get(f"/jobs/{job}").json())["state"] != "done":
        assert time.monotonic() < end, found["counts"]
        time.sleep(0.05)
    return found


class RealServer:
    """A server in a process of its own.

    Attributes
    ----------
    process : Popen
    address : str
    log : Path
    """

    def __init__(self, folder: Path, *flags: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "log"
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "serve", "--port=0", "--device=cpu", *flags],
            stdout=subprocess.PIPE,
            stderr=self.log.open("ab"),
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        found = re.search(r"https?://\S+", said)
        assert found, self.log.read_text()
        self.address = found[0]

    def lines(self) -> list[dict[str, Any]]:
        """Return what it logged; every line is JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def get(self, path: str) -> Any:
        """Ask it."""
        return httpx2.get(self.address + path, timeout=60)

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> RealServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
