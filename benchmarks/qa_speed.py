"""How long a reviewer of `lesion qa` waits: from the key to the next image on the screen.

    python benchmarks/qa_speed.py [--n 10000] [--size 512] [--steps 200] [--folder DIR]

Draws 300 phantoms, writes a cache of N masks over N images (each phantom under many ids), starts
`lesion qa` and drives its page in Debian's chromium: first a key whenever the reviewer has looked
for a second, then keys as fast as images come. Times are the browser's own: until the frame with
the next image was drawn (`qa-step`), and until the first frame after the key was presented (Event
Timing, in steps of 8 ms), which holds the next image unless it had to be fetched first.
The result is written to docs/reference/benchmarks.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import numpy as np
import pandas as pd
from page import write_section

from lesioncore.cache import MaskCacheWriter, MaskEntry
from lesioncore.devices import core_count
from lesioncore.files import read_table, sha256_file, write_table
from lesioncore.images import read_mask
from lesioncore.phantoms import make_phantom_archive

DRAWN = 300
PROGRAM = "import sys; from pipelines.commands import main; sys.exit(main())"
OBSERVE = """
  globalThis.presented = [];
  new PerformanceObserver((list) => {
    for (const one of list.getEntries()) {
      if (one.name === "keydown") presented.push(one.duration);
    }
  }).observe({ type: "event", durationThreshold: 16, buffered: true });
"""


def make_round(folder: Path, n: int, size: int) -> None:
    """Write phantoms, a table of `n` images over them, and a cache of their masks."""
    if (folder / "cache" / "index.json").is_file():
        return
    root = folder / "phantoms"
    make_phantom_archive(root, min(DRAWN, n), 0, size)
    drawn = read_table(root / "metadata.csv")["image_id"]
    rows = pd.DataFrame({"image_id": [f"PHANTOM_QA_{number:06d}" for number in range(n)]})
    images = [next((root / "images").glob(f"{name}.*")) for name in drawn]
    rows["image"] = [str(images[number % len(images)]) for number in range(n)]
    write_table(folder / "images.csv", rows)
    masks = [read_mask(root / "masks" / f"{name}_segmentation.png") for name in drawn]
    digests = [sha256_file(path) for path in images]
    rng = np.random.default_rng(0)
    with MaskCacheWriter(folder / "cache", {"segmenter": {"arch": "benchmark"}}) as writer:
        for number, image_id in enumerate(rows["image_id"]):
            which = number % len(images)
            moved = np.roll(masks[which], rng.integers(-20, 20, 2), axis=(0, 1))
            small = cv2.resize(moved.astype(np.float32), (192, 192), interpolation=cv2.INTER_AREA)
            writer.add(
                MaskEntry.from_soft(
                    image_id=image_id, image_sha256=digests[which], shape=moved.shape,
                    payload=np.round(small * 255).astype(np.uint8), score=rng.uniform(0.5, 1),
                    quality=rng.uniform(0.4, 1), disagreement=rng.uniform(0, 0.3), member="0",
                    in_sample=False,
                )
            )  # fmt: skip
        writer.complete()


def drive(url: str, steps: int, look: float) -> dict[str, list[float]]:
    """Press a key `steps` times, `look` seconds after each image came; return milliseconds."""
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update",
             "--disable-sync"]  # fmt: skip
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        browser = playwright.chromium.launch_persistent_context(
            profile, executable_path=shutil.which("chromium"), headless=True, args=flags,
            viewport={"width": 1366, "height": 768},
        )  # fmt: skip
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.add_init_script(OBSERVE)
        page.goto(f"{url}/review")
        before = ""
        for _ in range(steps + 1):
            page.wait_for_selector(
                f'html[data-shown]:not([data-shown=""]):not([data-shown="{before}"])',
                state="attached",
            )
            before = str(page.get_attribute("html", "data-shown"))
            time.sleep(look)
            page.keyboard.press("a")
        found: dict[str, Any] = {
            "drawn": page.evaluate(
                "performance.getEntriesByName('qa-step').map((one) => one.duration)"
            ),
            "presented": page.evaluate("presented"),
        }
        browser.close()
    return found


def words(values: list[float]) -> str:
    """Return median and 95th percentile, and how many there were."""
    if not values:
        return "- | -"
    return f"{statistics.median(values):.0f} | {np.quantile(values, 0.95):.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="keeps images and masks for the next time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        make_round(folder, options.n, options.size)
        database = Path(temporary) / "qa.sqlite"
        begun = time.monotonic()
        server = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "qa", f"--masks={folder / 'cache'}", "--dataset=csv",
             f"--root={folder / 'images.csv'}", "--port=0", f"--db={database}",
             "--reviewer=benchmark", "--assistant=none"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert server.stdout is not None
        url = server.stdout.readline().strip().rstrip("/")
        opened = time.monotonic() - begun
        try:
            runs = {
                "a second's look at each": drive(url, options.steps, 1.0),
                "keys as fast as images come": drive(url, options.steps, 0.0),
            }
        finally:
            server.terminate()
            server.wait()
    lines = [
        f"Measured {datetime.date.today()} in chromium without a window on {core_count()} cores "
        f"({platform.machine()}), server and browser on the same machine, by "
        "`python benchmarks/qa_speed.py`.",
        "",
        f"A cache of {options.n:,} soft masks of {options.size} x {options.size} px phantoms, "
        f"{options.steps} keys each; window 1366 x 768. Milliseconds from the key to the next "
        "image with its outline; with a second's look the next frame holds it. The queue of the "
        "whole cache was made, and the server started, in "
        f"{opened:.0f} s.",
        "",
        "| pace | next image drawn, median | 95th percentile | next frame presented, median | "
        "95th percentile |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(
            f"| {name} | {words(found['drawn'])} | {words(found['presented'])} |"
            for name, found in runs.items()
        ),
    ]
    text = "\n".join(lines)
    print(text)
    write_section("qa_speed", text)


if __name__ == "__main__":
    main()
