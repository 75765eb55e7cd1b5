"""`lesion serve` under load, and how long one photograph takes it -> the benchmarks page.

    python benchmarks/serve_load.py --run runs/ham --run bundle --seconds 60 --clients 200

Each run (of `lesion run` or `lesion export`; left out, what ships) is served by a process of its
own on this machine, which computes the clients' part too. First one client asks for one photograph
after the other, and what the server says of its own time is kept. Then all clients ask at once,
each as soon as it was answered; a 429 is waited out as `Retry-After` says. Every answer is compared
with the one that the photograph got alone. The photographs are those of `--photos`, which the skin
check must let pass, or phantoms, which it would refuse: it is then off.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import platform
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from page import write_section

from lesioncore.phantoms.archive import make_phantom_archive
from lesioncore.photos import find_photos

#: Two numbers that differ by more are two answers: batches round otherwise than single images do.
TOLERANCE = 2e-3
_PROGRAM = "import sys; from pipelines.commands import main; sys.exit(main())"


class Server:
    """A server in a process of its own."""

    def __init__(self, flags: list[str], log: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, "serve", "--port=0", "--no-spool", *flags],
            stdout=subprocess.PIPE, stderr=log.open("wb"), text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        found = re.search(r"https?://\S+", self.process.stdout.readline())
        if found is None:
            raise SystemExit(f"the server did not start: {log.read_text()}")
        self.address = found[0]

    @property
    def megabytes(self) -> float:
        """Memory in use."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) / 1024 if found else float("nan")

    def end(self) -> int:
        """End it in good order; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


def pictures(folder: Path | None, count: int, size: int) -> list[bytes]:
    """Return the files of a folder, evenly spaced, or of phantoms."""
    if folder is not None:
        found = find_photos([folder])
        return [path.read_bytes() for path in found[:: max(1, len(found) // count)][:count]]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "phantoms"
        make_phantom_archive(root, count, 1, size)
        return [path.read_bytes() for path in sorted((root / "images").iterdir())]


def form(data: bytes) -> dict[str, Any]:
    """Return the arguments of a request."""
    return {"files": {"image": ("a.jpg", data)}, "data": {"age": "55", "sex": "male"}}


def alone(server: Server, images: list[bytes], rounds: int) -> tuple[list[float], list[dict]]:
    """Return the answer to each photograph asked alone, and the server's times of each request.

    Images that the skin check refuses are taken out.
    """
    answers, times = [], []
    with httpx2.Client(base_url=server.address, timeout=120) as client:
        for turn in range(rounds + 1):
            for data in list(images):
                answer = client.post("/predict", **form(data))
                if turn == 0 and answer.status_code == 422:
                    images.remove(data)
                    continue
                answer.raise_for_status()
                if turn == 0:
                    answers.append(float(answer.json()["malignant"]))
                    continue
                said = re.findall(r"(\w+);dur=([\d.]+)", answer.headers["server-timing"])
                times.append({name: float(took) for name, took in said})
    return answers, times


async def load(
    server: Server, images: list[bytes], answers: list[float], clients: int, seconds: float
) -> dict[str, Any]:
    """Return what became of the requests of many clients at once."""
    counts: Counter[str] = Counter()
    took: list[float] = []
    memory = [server.megabytes]
    end = time.monotonic() + seconds

    async def one(client: httpx2.AsyncClient, number: int) -> None:
        rng = random.Random(number)
        while time.monotonic() < end:
            which = rng.randrange(len(images))
            start = time.monotonic()
            try:
                answer = await client.post("/predict", **form(images[which]))
            except httpx2.HTTPError as error:
                counts[f"lost: {type(error).__name__}"] += 1
                continue
            if answer.status_code == 200:
                took.append(time.monotonic() - start)
                right = abs(answer.json()["malignant"] - answers[which]) <= TOLERANCE
                counts["right" if right else "wrong"] += 1
            elif answer.status_code == 429 and "retry-after" in answer.headers:
                counts["429"] += 1
                await asyncio.sleep(rng.uniform(0.5, 1) * float(answer.headers["retry-after"]))
            else:
                counts[f"lost: {answer.status_code}"] += 1

    async def watch() -> None:
        while time.monotonic() < end:
            memory.append(server.megabytes)
            await asyncio.sleep(0.5)

    limits = httpx2.Limits(max_connections=clients)
    async with httpx2.AsyncClient(base_url=server.address, timeout=120, limits=limits) as client:
        await asyncio.gather(watch(), *(one(client, number) for number in range(clients)))
    return {
        "counts": dict(counts),
        "per_second": len(took) / seconds,
        "seconds": {str(q): float(np.percentile(took, q)) if took else None for q in (50, 95)},
        "megabytes": {
            "before": memory[0],
            "half": max(memory[: len(memory) // 2 + 1]),
            "most": max(memory),
        },
    }


def measured(given: argparse.Namespace, run: Path | None, images: list[bytes]) -> dict[str, Any]:
    """Return everything that is measured of one run."""
    flags = [*([] if run is None else [f"--run={run}"]), f"--device={given.device}", *given.flag]
    with tempfile.TemporaryDirectory() as folder:
        server = Server(flags, Path(folder) / "log")
        try:
            answers, times = alone(server, images, given.rounds)
            found = asyncio.run(load(server, images, answers, given.clients, given.seconds))
        finally:
            code = server.end()
    medians = {name: float(np.median([one[name] for one in times])) for name in times[0]}
    model = [sum(one[name] for name in ("skin", "masks", "classes")) for one in times]
    whole = {"model": float(np.median(model)), "requests": len(times)}
    return {"run": str(run or "what ships"), "ms": medians | whole, **found, "exit_code": code}


def section(given: argparse.Namespace, results: list[dict[str, Any]], busy: float) -> str:
    """Return the part of the page that this script owns."""
    what = f"phantoms of {given.size} pixels" if given.photos is None else given.photos.name
    lines = [
        f"Measured {datetime.date.today().isoformat()} on {os.cpu_count()} cores "
        f"({platform.machine()}, {given.device}; {busy:.1f} other processes running on average) by "
        f"`python benchmarks/serve_load.py`: {given.clients} clients for {given.seconds:g} s on "
        f"the same machine, {what}, each answer compared with the one "
        "that the photograph got alone.",
        "",
        "| served | right | wrong | lost | 429 | a second | answered in, median (95%) | "
        "memory before, most of the first half, most |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for found in results:
        counts, memory, took = found["counts"], found["megabytes"], found["seconds"]
        lost = sum(n for name, n in counts.items() if name.startswith("lost"))
        right, wrong, told = (counts.get(name, 0) for name in ("right", "wrong", "429"))
        lines.append(
            f"| {Path(found['run']).name} | {right:,} | {wrong:,} | {lost:,} | {told:,} | "
            f"{found['per_second']:.1f} | "
            f"{took['50'] or 0:.2f} s ({took['95'] or 0:.2f} s) | {memory['before']:.0f}, "
            f"{memory['half']:.0f}, {memory['most']:.0f} MB |"
        )
    lines += [
        "",
        "One photograph after the other, milliseconds in the median; model time is the last three:",
        "",
        "| served | requests | waits | decoded | skin check | mask | probability | model time |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for found in results:
        ms = found["ms"]
        steps = " | ".join(f"{ms[n]:.1f}" for n in ("queue", "decode", "skin", "masks", "classes"))
        lines.append(
            f"| {Path(found['run']).name} | {ms['requests']} | {steps} | **{ms['model']:.1f}** |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, action="append", help="may be said several times")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--photos", type=Path, help="folder; left out, phantoms")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--size", type=int, default=512, help="side of the phantoms, pixels")
    parser.add_argument("--rounds", type=int, default=4, help="of all images, one after the other")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--flag", action="append", default=[], help="for lesion serve, --flag=--x=y"
    )
    parser.add_argument("--json", action="store_true", help="print JSON and leave the page alone")
    given = parser.parse_args()
    busy = os.getloadavg()[0]
    images = pictures(given.photos, given.images, given.size)
    if given.photos is None:
        given.flag.append("--skin-check=off")
    results = [measured(given, run, images) for run in given.run or [None]]
    if given.json:
        print(json.dumps(results))
        return
    text = section(given, results, busy)
    print(text)
    write_section("serve_load", text)


if __name__ == "__main__":
    main()
