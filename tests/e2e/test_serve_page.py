"""The page of `lesion serve` in a real browser: drop a photograph, read the result.

Needs Debian's chromium (`apt-get install chromium`); playwright drives it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import TinyRun
from tests.e2e.serving import RealServer, encoded

pytestmark = pytest.mark.slow
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
# What a drag from a file manager gives a page.
DROP = """(bytes) => {
  const given = new DataTransfer();
  given.items.add(new File([new Uint8Array(bytes)], "Jane Doe.jpg", { type: "image/jpeg" }));
  document.getElementById("drop").dispatchEvent(
    new DragEvent("drop", { dataTransfer: given, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def server(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    folder = tmp_path_factory.mktemp("server")
    with RealServer(folder, f"--run={tiny_run.folder}", "--no-spool") as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, server: RealServer) -> Iterator[Any]:
    """The page at the width of a phone; what it asks of other servers, and its errors, fail."""
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.address)
    yield page
    assert all(url.startswith((server.address, "blob:", "data:")) for url in asked)
    assert errors == []
    context.close()


def test_drop_a_photograph_and_read_the_result(page, tiny_run, server) -> None:
    photo = sorted((tiny_run.root / "images").iterdir())[0]
    page.evaluate(DROP, list(photo.read_bytes()))
    page.fill("#age", "61")
    page.select_option("#sex", "female")
    page.select_option("#site", "posterior torso")
    page.click("#send")
    page.wait_for_selector("#answer:not([hidden])", timeout=120_000)
    assert page.inner_text("#malignant").endswith("%")
    assert "not a diagnosis" in page.inner_text("#answer")
    assert "page does not ask for" in page.inner_text("#said")
    for picture in ("#outline", "#crop"):
        page.wait_for_function(f"document.querySelector('{picture}').naturalWidth > 0")
    page.wait_for_selector("#evidence-figure:not([hidden])", timeout=120_000)
    assert {"age", "sex"} <= set(page.inner_text("#effects").split())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert all("Jane" not in str(line) for line in server.lines())


def test_the_keyboard_alone_is_enough_and_a_refusal_is_said(page, tmp_path: Path) -> None:
    import numpy as np

    flat = tmp_path / "flat.jpg"
    flat.write_bytes(encoded(np.full((64, 64, 3), 180, np.uint8)))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "image"
    page.set_input_files("#image", flat)
    for name in ("age", "sex", "site", "send"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == name
    page.keyboard.press("Enter")
    page.wait_for_selector("#trouble:not([hidden])", timeout=60_000)
    assert "does not look like a photograph of a skin lesion" in page.inner_text("#trouble")
    assert not page.is_visible("#answer")


def test_nothing_is_sent_without_a_photograph(page) -> None:
    page.click("#send")
    assert "No photograph yet" in page.inner_text("#trouble")


def test_the_page_of_the_api_works_without_a_network(page, server) -> None:
    page.goto(server.address + "/docs")
    page.wait_for_selector(".opblock-summary-path", timeout=60_000)
    assert page.locator(".opblock-summary-path").count() >= 8
