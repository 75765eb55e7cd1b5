"""How many phantoms, and how many augmented images, one core makes a second.

    python benchmarks/phantom_speed.py [--n 300]

Time is that of the processor, best of three, with one thread in OpenCV and NumPy.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable

os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import numpy as np

from lesioncore.phantoms import make_phantom
from lesioncore.transforms import POLICIES, classification_train, segmentation_train


def rate(job: Callable[[int], object], n: int) -> float:
    """Return calls of `job` a second of processor time, best of three runs of `n`."""
    job(0)
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        for number in range(n):
            job(number)
        best = min(best, time.process_time() - start)
    return n / best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=300)
    n = parser.parse_args().n
    cv2.setNumThreads(1)
    print(f"{platform.processor() or platform.machine()}, OpenCV {cv2.__version__}")
    print("\n| phantoms of | images/s |\n| ---: | ---: |")
    for size in (96, 128, 256):
        count = max(20, n * 128**2 // size**2)
        print(
            f"| {size} px | {rate(lambda seed, size=size: make_phantom(seed, size), count):.0f} |"
        )
    phantom = make_phantom(0, 256)
    image, mask = phantom.image, phantom.mask.astype(np.uint8)
    print("\n| 256 to 160 px, image and mask | ms an image |\n| --- | ---: |")
    for policy in POLICIES:
        for name, make in (("stage 1", segmentation_train), ("stage 2", classification_train)):
            chain = make(160, policy, seed=0)
            cost = 1000 / rate(lambda _, chain=chain: chain(image, mask), n)
            print(f"| {name} {policy} | {cost:.2f} |")
    late = classification_train(160, "isic2020", resize="late", seed=0)
    print(f"| stage 2 isic2020, late resize | {1000 / rate(lambda _: late(image, mask), n):.2f} |")


if __name__ == "__main__":
    main()
