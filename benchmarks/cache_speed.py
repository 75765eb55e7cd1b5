"""How near `segstage cache` comes to the speed of its two necessary parts.

    python benchmarks/cache_speed.py [--data DIR] [--n 512] [--rounds 3] [--out DIR]

Reading pictures and the bare network share the cores, so at best a cache takes the time of both:
``1 / (1 / loader + 1 / forward)`` images a second. The three rates are measured in turns, several
rounds, in one process with one batch size, and the medians are compared. `loader` iterates over the
loader of `segstage cache` and does nothing else; `forward` runs the network on a batch that is
ready; `cache` is the command, from reading the manifest to the closed shard. A busy machine slows
the three unequally; the line of processor seconds beside them is less disturbed.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from lesioncore.devices import choose_workers, core_count
from lesioncore.loading import make_loader
from lesioncore.readers import load_manifest
from segstage.caching import cache, load_segmenter
from segstage.config import CacheConfig
from segstage.dataset import ImageStream
from segstage.models import create_segmenter
from segstage.postprocess import PostProcessing
from segstage.predictor import KIND, LesionSegmenter
from weights.card import WeightCard
from weights.store import save_weights


@dataclass
class Rounds:
    """Images a second of wall clock, and processor seconds an image, of each round."""

    rates: list[float]
    processor: list[float]

    def measure(self, job: Callable[[], object], images: int) -> None:
        """Run `job`, which handles `images` images."""
        before, start = _processor_seconds(), time.perf_counter()
        job()
        self.rates.append(images / (time.perf_counter() - start))
        self.processor.append((_processor_seconds() - before) / images)


def _processor_seconds() -> float:
    """Return the processor seconds of this process and of its workers that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def untrained(folder: Path, size: int) -> Path:
    """Write an untrained segmenter of the default architecture: speed does not ask for training."""
    torch.manual_seed(0)
    segmenter = create_segmenter("unet", encoder_weights="none")
    card = WeightCard(
        name="untrained",
        kind=KIND,
        architecture=segmenter.architecture,
        preprocessing={"size": size, **segmenter.normalisation},
        postprocessing=PostProcessing().to_dict(),
    )
    save_weights(folder, segmenter.state_dict(), card)
    return folder


def read_all(segmenter: LesionSegmenter, config: CacheConfig) -> None:
    """Iterate over the loader of `segstage cache`."""
    stream = ImageStream(load_manifest(config)["image"], segmenter.size)
    workers = choose_workers(config.workers)
    for _ in make_loader(stream, config.batch_size, workers=workers, collate=list):
        pass


@torch.inference_mode()
def forward(segmenter: LesionSegmenter, batches: int, batch_size: int) -> None:
    """Run the network on one batch that is ready, `batches` times."""
    member = segmenter.members[0]
    pixels = torch.zeros((batch_size, segmenter.size, segmenter.size, 3), dtype=torch.uint8)
    batch = member.prepare(pixels)
    for _ in range(batches):
        member(batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("LESION_DATA"))
    parser.add_argument("--dataset", default="isic-task1")
    parser.add_argument("--folder", default="isic2018_task1_512", help="of --data")
    parser.add_argument("--weights", type=Path, help="a run; left out, an untrained default U-Net")
    parser.add_argument("--size", type=int, default=192, help="of the untrained U-Net")
    parser.add_argument("--n", type=int, default=512, help="images")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=-1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="folder for cache_speed.json")
    given = parser.parse_args()
    if given.data is None:
        parser.error("say where the archives are: --data DIR, or set LESION_DATA")
    logging.getLogger("lesion").setLevel(logging.ERROR)
    found = {name: Rounds([], []) for name in ("loader", "forward", "cache")}
    with tempfile.TemporaryDirectory() as folder:
        weights = given.weights or untrained(Path(folder) / "weights", given.size)

        def config(out: str) -> CacheConfig:
            return CacheConfig(
                dataset=given.dataset, root=Path(given.data) / given.folder, weights=weights,
                out=Path(folder) / out, limit=given.n, batch_size=given.batch_size,
                workers=given.workers, device="cpu", precision="fp32",
            )  # fmt: skip

        segmenter = load_segmenter(config("none"))
        images = len(load_manifest(config("none")))
        batches = max(1, images // given.batch_size)
        forward(segmenter, 2, given.batch_size)  # the first passes choose their kernels
        read_all(segmenter, config("none"))  # and the first reading fills the page cache
        for number in range(given.rounds):
            found["loader"].measure(lambda: read_all(segmenter, config("none")), images)
            found["forward"].measure(
                lambda: forward(segmenter, batches, given.batch_size), batches * given.batch_size
            )
            made = config(f"cache-{number}")
            found["cache"].measure(lambda made=made: cache(made), images)  # type: ignore[misc]
    rates = {name: statistics.median(rounds.rates) for name, rounds in found.items()}
    best = 1 / (1 / rates["loader"] + 1 / rates["forward"])
    record = {
        "images": images,
        "batch_size": given.batch_size,
        "size": segmenter.size,
        "cores": core_count(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "images_per_second": {name: round(rate, 2) for name, rate in rates.items()},
        "processor_ms_per_image": {
            name: round(1000 * statistics.median(rounds.processor), 2)
            for name, rounds in found.items()
        },
        "both_parts": round(best, 2),
        "ratio": round(rates["cache"] / best, 3),
    }
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "cache_speed.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
