"""How long `lesion audit` looks for near copies among as many images as ISIC 2024 has.

    python benchmarks/audit_duplicates.py [--n 401059] [--copies 4000]

Random hashes of 64 bits stand for the images, since archives of that size are not at hand; copies
that differ in 0 to 7 bits are planted among them, and the search must find each. Real hashes are
less even: a second row draws them so that some bits are mostly set. Processor seconds count, one
thread; memory is the peak of the whole process so far. Then what an image costs before:
reading, decoding, hashing, with and without a look for faces.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import numpy as np
from page import write_section

from lesioncore.devices import core_count
from lesioncore.hamming import near_pairs
from lesioncore.phantoms import make_phantom
from lesioncore.picture_hash import WORDS
from lesioncore.picture_search import likely_copies
from pipelines.audit.looks import facts_of


def planted(count: int, copies: int, set_share: float) -> tuple[np.ndarray, set[tuple[int, int]]]:
    """Return hashes (count, WORDS) whose first words hold copies, and the pairs of rows."""
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 2**64, (count, WORDS), dtype=np.uint64)
    if set_share != 0.5:
        hashes[:, 0] = 0
        for bit in range(64):
            share = set_share if bit % 4 == 0 else 0.5
            here = generator.random(count) < share
            hashes[:, 0] |= here.astype(np.uint64) << np.uint64(bit)
    first = generator.choice(count // 2, copies, replace=False)
    second = count // 2 + generator.choice(count - count // 2, copies, replace=False)
    hashes[second] = hashes[first]
    for number, row in enumerate(second):
        for bit in generator.choice(64, number % 8, replace=False):
            hashes[row, 0] ^= np.uint64(1) << np.uint64(bit)
    return hashes, set(zip(first.tolist(), second.tolist(), strict=True))


def memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def searches(count: int, copies: int) -> list[str]:
    rows = []
    for name, share in (("even", 0.5), ("a quarter of the bits set in 80 %", 0.8)):
        hashes, pairs = planted(count, copies, share)
        started = time.process_time()
        first, second = near_pairs(hashes[:, 0])
        plain = time.process_time() - started
        started = time.process_time()
        likely_copies(hashes)
        turned = time.process_time() - started
        found = pairs & set(zip(first.tolist(), second.tolist(), strict=True))
        rows.append(
            f"| {name} | {count:,} | {plain:.1f} | {turned:.1f} | {memory():,.0f} | "
            f"{len(found):,} of {len(pairs):,} | {len(first) - len(found):,} |"
        )
    return rows


def looks(side: int, count: int, *, faces: bool) -> float:
    """Return the processor milliseconds of a look at an image."""
    done, data = cv2.imencode(".jpg", make_phantom(1, side).image)
    assert done
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.jpg"
        path.write_bytes(data.tobytes())
        facts_of(path.read_bytes(), str(path), faces=faces)
        started = time.process_time()
        for _ in range(count):
            facts_of(path.read_bytes(), str(path), faces=faces)
        return 1000 * (time.process_time() - started) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=401_059)
    parser.add_argument("--copies", type=int, default=4000)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    machine = f"{core_count()} cores ({platform.machine()})"
    lines = [
        f"Measured {datetime.date.today()} on {machine}, one thread, by "
        "`python benchmarks/audit_duplicates.py`.",
        "",
        "| hashes | n | s, as they are | s, and turned or mirrored | MiB, peak | planted copies "
        "found | others |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *searches(given.n, given.copies),
        "",
        "| one look at an image of | ms | with faces |",
        "| --- | ---: | ---: |",
    ]
    for side, count in ((128, 200), (512, 40)):
        plain, faces = (looks(side, count, faces=wanted) for wanted in (False, True))
        lines.append(f"| {side} x {side} px | {plain:.1f} | {faces:.1f} |")
    print("\n".join(lines))
    write_section("audit_duplicates", "\n".join(lines))


if __name__ == "__main__":
    main()
