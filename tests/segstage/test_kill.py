"""`kill -9` in the middle, then the same command: nothing finished is redone or lost."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lesioncore.cache import MaskCache
from lesioncore.cache.journal import JOURNAL
from lesioncore.phantoms import make_phantom_archive
from segstage.commands import main
from segstage.config import TrainConfig
from tests.segstage.conftest import tiny
from weights.store import load_weights

pytestmark = pytest.mark.slow

PROGRAM = "import sys; from segstage.commands import main; sys.exit(main())"


@pytest.fixture(autouse=True)
def one_thread():
    """As in the killed processes: sums of several threads round in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def start(words: list[str]) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *words], env=environment)


def kill_when(words: list[str], ready: Callable[[], bool], patience: float = 300) -> None:
    """Start a command and kill it the moment that `ready` says so."""
    process = start(words)
    until = time.monotonic() + patience
    while not ready():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def as_words(config: TrainConfig) -> list[str]:
    words = ["train"]
    for name in ("dataset", "root", "out", "encoder", "encoder_weights", "size", "epochs",
                 "batch_size", "workers", "device", "folds", "test_list"):  # fmt: skip
        words += [f"--{name}", str(getattr(config, name))]
    return [*words, "--arch_options", json.dumps(config.arch_options)]


def epochs(folder: Path) -> list[dict[str, str]]:
    path = folder / "metrics.csv"
    return list(csv.DictReader(path.open(newline=""))) if path.is_file() else []


def test_train(archive: Path, tmp_path: Path) -> None:
    whole = tiny(archive, tmp_path / "whole", folds=2, epochs=4, test_list="none")
    assert main(as_words(whole)) == 0
    cut = tiny(archive, tmp_path / "cut", folds=2, epochs=4, test_list="none")
    words, second = as_words(cut), cut.out / "member-1"
    kill_when(words, lambda: len(epochs(second)) >= 2)
    first = (cut.out / "member-0" / "weights.safetensors").stat().st_mtime_ns
    before = epochs(second)
    assert 2 <= len(before) < 4
    assert main(words) == 0
    assert (cut.out / "member-0" / "weights.safetensors").stat().st_mtime_ns == first
    # An epoch that was finished is not done again: its row, seconds included, is the same. The
    # last one may be, when the kill fell between its row and its checkpoint.
    assert epochs(second)[: len(before) - 1] == before[:-1]
    for number in range(2):
        expected, _ = load_weights(whole.out / f"member-{number}")
        found, _ = load_weights(cut.out / f"member-{number}")
        assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_cache(run: TrainConfig, tmp_path: Path) -> None:
    many, out = tmp_path / "many", tmp_path / "cache"
    make_phantom_archive(many, n=300, seed=5, size=96)
    words = ["cache", "--weights", str(run.out), "--dataset", "phantom", "--root", str(many)]
    words += ["--out", str(out), "--device", "cpu", "--workers", "0", "--batch_size", "1"]
    journal = out / JOURNAL
    kill_when(words, lambda: journal.is_file() and journal.stat().st_size > 40_000)
    from lesioncore.cache.journal import read_journal

    finished = {row.image_id: payload for row, payload in read_journal(journal)[1]}
    assert 0 < len(finished) < 300
    again = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True
    )
    assert f"{len(finished)} of 300 masks are there already" in again.stderr
    assert f"{300 - len(finished)} made now" in again.stderr
    masks = MaskCache(out)
    assert masks.complete
    assert len(masks) == 300
    assert all(masks.payload_bytes(image_id) == data for image_id, data in finished.items())
