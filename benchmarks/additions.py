"""What older archives and synthetic lesions add to a classifier of HAM10000 -> the benchmarks page.

    python benchmarks/additions.py --data DIR --out runs/additions --jobs 2

`DIR` holds `ham10000_200x150/` and `isic2018_task1_512/` (else $LESION_DATA is taken). Every arm
learns from the same images of HAM10000, a part of them only, since additions matter where images
are few; all are scored on its committed test list. Full images without metadata. Arms that are
there are skipped.
"""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from malignancy import arguments, compared, give, ham_of, scored, write_truth
from page import write_section

LIMIT = ("--limit", "1200")
ALIKE = (
    "--focus", "full", "--metadata", "none", "--size", "96", "--batch-size", "32",
    "--lr", "0.0006", "--warmup-epochs", "0", "--val-fraction", "0.1", "--select", "last",
    "--split-seed", "0", "--workers", "0", "--policy", "cancer+ak",
)  # fmt: skip
EPOCHS = ("--epochs", "5")
ARMS = {
    "HAM10000 alone": "the base",
    "HAM10000, 8 epochs": "as long as with older images first",
    "older archive first": "ISIC 2018 task 1 with labels of 2019 first, then HAM10000 (`--start`)",
    "older archive beside": "both together (`--also`)",
    "transplants": "400 transplanted malignant lesions beside (`--synthetic`)",
}
BASE = "HAM10000 alone"


def folder(name: str, seed: int) -> str:
    """Return the name of an arm's run."""
    return f"{''.join(c if c.isalnum() else '-' for c in name)}--{seed}"


def prepare(ham: Sequence[str], task1: Path, seeds: int, out: Path) -> None:
    """Train the starts, and make the transplants from the base's own training images."""
    write_truth(ham, out)
    for seed in range(seeds):
        # Its own test list is kept back, and so is HAM10000's wherever the archives overlap.
        give(
            "clsstage", "train", "--dataset", "isic-task1", "--root", task1, *ALIKE,
            "--epochs", "3", "--seed", seed, "--out", out / "runs" / f"old--{seed}",
        )  # fmt: skip
        train(BASE, seed, ham, task1, out)
    split = out / "runs" / folder(BASE, 0) / "split.csv"
    give(
        "lesion", "synthesize", "--method", "transplant", *ham, "--split", split, "--fold", "0",
        "--n", "400", "--policy", "cancer+ak", "--out", out / "synthetic",
    )  # fmt: skip


def flags_of(name: str, seed: int, task1: Path, out: Path) -> tuple[object, ...]:
    """Return what an arm adds to the flags of all."""
    return {
        "HAM10000 alone": EPOCHS,
        "HAM10000, 8 epochs": ("--epochs", "8"),
        "older archive first": (*EPOCHS, "--start", out / "runs" / f"old--{seed}" / "member-0"),
        "older archive beside": (*EPOCHS, "--also.isic-task1", task1),
        "transplants": (*EPOCHS, "--synthetic", f"[{out / 'synthetic'}]"),
    }[name]


def train(name: str, seed: int, ham: Sequence[str], task1: Path, out: Path) -> None:
    """Train an arm and predict the test list."""
    run, table = out / "runs" / folder(name, seed), out / f"{folder(name, seed)}.csv"
    if table.is_file():
        return
    more = flags_of(name, seed, task1, out)
    give("clsstage", "train", *ham, *LIMIT, *ALIKE, "--seed", seed, "--out", run, *more)
    give(
        "clsstage", "predict", *ham, "--weights", run, "--subset", "test", "--tta", 4,
        "--workers", 0, "--out", table,
    )  # fmt: skip


def section(seeds: int, out: Path) -> str:
    """Return the part of the page that this script owns."""
    tables = {
        name: [
            scored(file, out)
            for seed in range(seeds)
            if (file := out / f"{folder(name, seed)}.csv").is_file()
        ]
        for name in ARMS
    }
    example = tables[BASE][0]
    lines = [
        f"Measured {datetime.date.today().isoformat()} on {os.cpu_count()} cores "
        f"({platform.machine()}, no GPU) by `python benchmarks/additions.py`: classifiers "
        f"(`tf_efficientnet_lite0`, 96 px, full images, no metadata, five epochs) of {LIMIT[1]} "
        f"images of HAM10000 less its test list, scored on all {len(example)} images of that list, "
        f"{len(tables[BASE])} seeds. Differences to HAM10000 alone are paired, by lesion.",
    ]
    for name, about in ARMS.items():
        if name != BASE and tables[name]:
            lines += ["", f"**{name}**: {about}", "", *compared(tables[name], tables[BASE])]
    return "\n".join(lines)


def main() -> None:
    given = arguments(str(__doc__), "runs/additions")
    out = given.out.absolute()
    if not given.only_page:
        ham, task1 = ham_of(Path(given.data)), Path(given.data) / "isic2018_task1_512"
        prepare(ham, task1, given.seeds, out)
        work = [(name, seed) for seed in range(given.seeds) for name in ARMS]
        with ThreadPoolExecutor(given.jobs) as pool:
            list(pool.map(lambda one: train(*one, ham, task1, out), work))
    text = section(given.seeds, out)
    print(text)
    write_section("additions", text)


if __name__ == "__main__":
    main()
