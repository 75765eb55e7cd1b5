"""What the features of the stack cost a row, from thousands of lesions to an archive.

    python benchmarks/stack_features.py [--work DIR] [--dry-run]

Makes the table of a stand-in for ISIC 2024 (401,059 lesions of 1,042 patients; 40,000 and 4,000 of
as many fewer patients; no tiles are drawn), adds a score and times `make_features`. Time is the
processor's, medians of several runs in turn, with the wall clock's beside it. The result is written
to docs/reference/benchmarks.md.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
from page import write_section

from lesioncore.devices import core_count
from lesioncore.phantoms.standin.plan import LESIONS, Plan
from lesioncore.phantoms.standin.pool import chunks, draw_chunk, is_drawn, read_traits
from lesioncore.phantoms.standin.table import rows_of
from lesioncore.readers import create_reader
from pipelines.stack.features.table import make_features

PATIENTS = 1042
#: Lesions, patients, and how often the features are made.
SIZES = ((4_000, 10, 15), (40_000, 104, 5), (401_059, PATIENTS, 2))
WANTED_SECONDS, WANTED_RATIO = 60.0, 1.2


def write_archive(folder: Path, plan: Plan, traits: dict[str, np.ndarray]) -> None:
    """Write the table of a stand-in in the layout of ISIC 2024, without its images."""
    targets = plan.targets(traits["log_odds"])
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "train-metadata.csv").open("w", encoding="utf-8", newline="") as handle:
        for block in plan.blocks:
            rows_of(plan, block, traits, targets).to_csv(handle, index=False, header=block == 0)


def traits_of(work: Path) -> dict[str, np.ndarray]:
    """Return what is known of the pictures of all patients, drawn once."""
    plan = Plan(SIZES[-1][0], PATIENTS)
    for chunk in chunks(plan):
        if not is_drawn(work, chunk):
            draw_chunk(plan, work, chunk)
    return read_traits(plan, work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="where tables are kept; else a temporary folder")
    parser.add_argument("--dry-run", action="store_true", help="leave the page alone")
    given = parser.parse_args()
    logging.getLogger("lesion").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        text = report(given.work or Path(folder))
    print(text)
    if not given.dry_run:
        write_section("stack_features", text)


def tables(work: Path) -> tuple[dict[int, pd.DataFrame], float]:
    """Return the manifests by size, and the seconds that reading the largest took."""
    found: dict[int, pd.DataFrame] = {}
    seconds = 0.0
    for rows, patients, _ in SIZES:
        root = work / f"table-{rows}"
        if not (root / "train-metadata.csv").is_file():
            traits = {name: v[: patients * LESIONS] for name, v in traits_of(work / "pool").items()}
            write_archive(root, Plan(rows, patients), traits)
        start = time.process_time()
        manifest = create_reader("isic2024", root, require_images=False).read()
        seconds = time.process_time() - start
        scores = np.random.default_rng(0).random(rows)
        found[rows] = manifest.assign(score_network=scores)
    return found, seconds


def report(work: Path) -> str:
    """Return the section of the page."""
    manifests, reading = tables(work)
    processor: dict[int, list[float]] = {rows: [] for rows in manifests}
    wall: dict[int, list[float]] = {rows: [] for rows in manifests}
    features = 0
    for number in range(max(repeats for *_, repeats in SIZES)):
        for rows, _, repeats in SIZES:
            if number >= repeats:
                continue
            begin, start = time.perf_counter(), time.process_time()
            features = len(make_features(manifests[rows]).names)
            processor[rows].append(time.process_time() - start)
            wall[rows].append(time.perf_counter() - begin)
    lines = [
        f"Measured {datetime.datetime.now(datetime.UTC).date()} on {core_count()} cores "
        f"({platform.machine()}), one thread, by `python benchmarks/stack_features.py`: "
        f"{features} features of tables in the layout of ISIC 2024, medians of several runs.",
        "",
        "| lesions | patients | processor, s | by the clock, s | µs a lesion (processor) |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    each = {rows: statistics.median(times) / rows * 1e6 for rows, times in processor.items()}
    for rows, patients, _ in SIZES:
        lines.append(
            f"| {rows:,} | {patients:,} | {statistics.median(processor[rows]):.2f} | "
            f"{statistics.median(wall[rows]):.2f} | {each[rows]:.1f} |"
        )
    largest = SIZES[-1][0]
    lines += [
        "",
        f"- {largest:,} lesions take {statistics.median(processor[largest]):.0f} s of one core "
        f"(wanted: {WANTED_SECONDS:.0f} s on two); reading the table and checking it took "
        f"{reading:.0f} s before that.",
        f"- From the cheapest to the dearest size a lesion's cost differs by "
        f"{max(each.values()) / min(each.values()) - 1:.0%} (wanted: {WANTED_RATIO - 1:.0%} at "
        "most).",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
