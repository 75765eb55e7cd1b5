"""Steps of training with and without `lesioncore.allocator.keep_memory` -> the benchmarks page.

    python benchmarks/allocator.py

Both kinds of process are started in turn, one thread each; the CPU time of their steps counts.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from page import write_section

NETWORKS = {"classifier, 128 px, batch 32": (128, 32), "U-Net, 192 px, batch 16": (192, 16)}


def steps(name: str) -> Callable[[], None]:
    """Return a training step of a network that ships as a default."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    size, batch = NETWORKS[name]
    if name.startswith("classifier"):
        from clsstage.classifier import create_classifier

        network = create_classifier("concat", metadata_width=20)
        inputs = (torch.randn(batch, 3, size, size), torch.randn(batch, 20))
    else:
        from segstage.models import create_segmenter

        network = create_segmenter("unet", encoder_weights="none")
        inputs = (torch.randn(batch, 3, size, size),)
    network = network.to(memory_format=torch.channels_last).train()
    inputs = (inputs[0].contiguous(memory_format=torch.channels_last), *inputs[1:])
    optimiser = torch.optim.AdamW(network.parameters())

    def step() -> None:
        loss = network(*inputs).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def measure(name: str, keep: bool, count: int) -> dict[str, float]:
    """Return CPU milliseconds an image and the peak of memory, in this process."""
    from lesioncore.allocator import keep_memory

    if keep and not keep_memory():
        raise SystemExit("this C library cannot be told to keep memory")
    step = steps(name)
    for _ in range(3):
        step()
    start = time.process_time()
    for _ in range(count):
        step()
    spent = 1000 * (time.process_time() - start) / count / NETWORKS[name][1]
    return {"ms": spent, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def in_child(name: str, keep: bool, count: int) -> dict[str, float]:
    """Return `measure` of a process of its own."""
    words = [sys.executable, __file__, "--child", name, "--count", str(count)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        words + (["--keep"] if keep else []), check=True, capture_output=True, env=environment
    )
    return dict(json.loads(found.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=6, help="steps a round")
    parser.add_argument("--child", choices=NETWORKS, help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(measure(given.child, given.keep, given.count)))
        return
    lines = [
        f"Measured {datetime.date.today().isoformat()} on {os.cpu_count()} cores "
        f"({platform.machine()}, no GPU) by `python benchmarks/allocator.py`: CPU time of a "
        f"training step on one thread, medians of {given.rounds} processes each in turn.",
        "",
        "| network | ms an image, C library as it is | told to keep memory | ratio | peak memory |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in NETWORKS:
        found = [
            [in_child(name, keep, given.count) for keep in (False, True)]
            for _ in range(given.rounds)
        ]
        plain, kept = (np.median([pair[i]["ms"] for pair in found]) for i in (0, 1))
        memory = [np.median([pair[i]["mb"] for pair in found]) for i in (0, 1)]
        lines.append(
            f"| {name} | {plain:.0f} | {kept:.0f} | {plain / kept:.2f} | "
            f"{memory[0]:.0f} and {memory[1]:.0f} MB |"
        )
    text = "\n".join(lines)
    print(text)
    write_section("allocator", text)


if __name__ == "__main__":
    main()
