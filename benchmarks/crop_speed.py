"""What an epoch of the loader costs, from crops and from the images.

    python benchmarks/crop_speed.py [--n 300] [--rounds 5] [--size 160]

Draws the same phantoms at 1024 and at 128 px, writes their true masks as caches, cuts crops of
both, and lets the loader of `clsstage train` run through each, round after round in turn: crops of
1024-px sources, crops of 128-px sources, and the sources themselves. Nothing is trained. Time is
the wall clock's with no worker, and the processor's beside it, which a busy machine disturbs less.
The result is written to docs/reference/benchmarks.md.
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
from dataclasses import dataclass, field
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import pandas as pd
from page import write_section

from clsstage.crops import CropCache, CropGeometry, build_crops
from clsstage.dataset import Jitter, TrainingDataset
from clsstage.focus_names import parse_focus
from clsstage.masks import MaskTrust, choose_masks
from clsstage.metadata import MetadataEncoder
from clsstage.view import View
from lesioncore.cache import MaskCache, MaskCacheWriter, MaskEntry
from lesioncore.devices import core_count
from lesioncore.images import image_sha256, read_mask
from lesioncore.loading import EpochSampler, make_loader
from lesioncore.phantoms import make_phantom_archive
from lesioncore.readers import create_reader
from lesioncore.transforms import classification_train

FOCUS = "dilated_crop+soft_background"
MARGIN, JITTER, MASK_ERRORS = 0.3, 0.5, 0.2
LARGE, SMALL = 1024, 128
WANTED = 1.15


@dataclass
class Epochs:
    """Seconds of each epoch: wall clock and processor."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def run(self, data: TrainingDataset, seed: int) -> None:
        """Iterate once over the loader of a training."""
        sampler = EpochSampler.shuffled(len(data), seed)
        loader = make_loader(data, 32, sampler=sampler, drop_last=True)
        start, before = time.perf_counter(), time.process_time()
        for _ in loader:
            pass
        self.wall.append(time.perf_counter() - start)
        self.processor.append(time.process_time() - before)


def archive(folder: Path, n: int, size: int) -> tuple[pd.DataFrame, MaskCache]:
    """Draw an archive of phantoms; return its manifest and its true masks."""
    make_phantom_archive(folder, n=n, seed=0, size=size)
    manifest = create_reader("phantom", folder).read()
    with MaskCacheWriter(folder / "cache", {"segmenter": "truth", "size": size}) as writer:
        for row in manifest.itertuples():
            mask = read_mask(row.mask).astype("uint8") * 255
            # A segmenter's soft mask comes at its own working size.
            side = min(size, 192)
            soft = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)
            writer.add(
                MaskEntry.from_soft(
                    image_id=row.image_id,
                    image_sha256=image_sha256(row.image),
                    shape=mask.shape,
                    payload=soft,
                    score=1.0,
                    member="0",
                    in_sample=False,
                )
            )
        writer.complete()
    return manifest, MaskCache(folder / "cache")


def data_set(
    manifest: pd.DataFrame, masks: MaskCache, size: int, crops: CropCache | None
) -> TrainingDataset:
    """Return what `clsstage train` learns from, with its default jitter."""
    ids = manifest["image_id"].tolist()
    encoder = MetadataEncoder.fit(manifest, ["age", "sex", "site"])
    channels = parse_focus(FOCUS).channels
    return TrainingDataset(
        ids,
        manifest["image"].tolist(),
        encoder.transform(manifest),
        View(FOCUS, MARGIN, 0.7, size, (0.5,) * channels, (0.5,) * channels),
        masks,
        choose_masks(masks, ids, MaskTrust()),
        crops=crops,
        encoder=encoder,
        transform=classification_train(size, "light", resize="early", seed=0),
        jitter=Jitter(frame=JITTER, mask=MASK_ERRORS),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=300, help="phantoms of each size")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=160, help="side of the network's input")
    parser.add_argument(
        "--work", type=Path, help="where phantoms are kept; else a temporary folder"
    )
    parser.add_argument("--dry-run", action="store_true", help="leave the page alone")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    logging.getLogger("lesion").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        work = given.work or Path(folder)
        epochs, notes = measure(work, Path(folder), given.n, given.rounds, given.size)
    text = report(epochs, notes, given.n, given.rounds, given.size)
    print(text)
    if not given.dry_run:
        write_section("crop_speed", text)


def measure(
    work: Path, temporary: Path, n: int, rounds: int, size: int
) -> tuple[dict[str, Epochs], dict[str, str]]:
    """Return the epochs by what is read, and what the crops of each source take."""
    data: dict[str, TrainingDataset] = {}
    notes = {}
    geometry = CropGeometry.of(FOCUS, MARGIN, size, JITTER, True)
    for side in (LARGE, SMALL):
        manifest, masks = archive(work / f"phantoms-{side}", n, side)
        ids = manifest["image_id"].tolist()
        choices = choose_masks(masks, ids, MaskTrust())
        for encoding in ("jpeg", "webp"):
            start, home = time.perf_counter(), temporary / f"crops-{side}-{encoding}"
            crops = build_crops(
                home, ids, manifest["image"].tolist(), geometry, masks, choices,
                encoding=encoding, workers=0,
            )  # fmt: skip
            spent = time.perf_counter() - start
            room = sum(path.stat().st_size for path in home.glob("*.h5")) / n / 1024
            shapes = crops.table()
            name = f"{encoding} crops of {side} px"
            data[name] = data_set(manifest, masks, size, crops)
            notes[name] = f"{shapes['height'].median():.0f} | {room:.0f} | {1000 * spent / n:.0f}"
        data[f"images of {side} px"] = data_set(manifest, masks, size, None)
        notes[f"images of {side} px"] = f"{side} | - | -"
    epochs = {name: Epochs() for name in data}
    for number in range(rounds + 1):
        for name, one in data.items():
            found = epochs[name] if number else Epochs()  # the first round fills the page cache
            found.run(one, number)
    return epochs, notes


def report(epochs: dict[str, Epochs], notes: dict[str, str], n: int, rounds: int, size: int) -> str:
    """Return the section of the page."""
    lines = [
        f"Measured {datetime.datetime.now(datetime.UTC).date()} on {core_count()} cores "
        f"({platform.machine()}), one process, by `python benchmarks/crop_speed.py`: the loader of "
        f"`clsstage train` alone (size {size}, augmentation `light`, its jitter of margin and "
        f"mask), {n} phantoms, medians of {rounds} epochs in turn.",
        "",
        "| read | px | KiB each | ms to cut | ms an image | processor ms |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    count = n // 32 * 32
    for name, one in epochs.items():
        wall, processor = (1000 * statistics.median(t) / count for t in (one.wall, one.processor))
        lines.append(f"| {name} | {notes[name]} | {wall:.2f} | {processor:.2f} |")
    lines.append("")
    for encoding in ("jpeg", "webp"):
        large, small = (epochs[f"{encoding} crops of {side} px"] for side in (LARGE, SMALL))
        # Of each round by itself: a busy machine slows neighbours in time alike.
        ratio = _median_ratio(large.processor, small.processor)
        by_wall = _median_ratio(large.wall, small.wall)
        lines.append(
            f"- {encoding}: an epoch on crops of {LARGE}-px images takes {ratio:.2f} times the "
            f"processor time of one on crops of {SMALL}-px images, {by_wall:.2f} times by the "
            f"clock (wanted: {WANTED} at most)."
        )
    images = statistics.median(epochs[f"images of {LARGE} px"].processor)
    crops = statistics.median(epochs[f"jpeg crops of {LARGE} px"].processor)
    lines.append(
        f"- From the {LARGE}-px images themselves it takes {images / crops:.1f} times as much."
    )
    return "\n".join(lines)


def _median_ratio(these: list[float], those: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(these, those, strict=True))


if __name__ == "__main__":
    main()
