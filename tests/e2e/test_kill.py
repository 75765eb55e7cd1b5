"""A run that is killed or interrupted goes on where it stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lesioncore.files import read_json
from tests.e2e.conftest import run_flags

PROGRAM = "import sys; from pipelines.commands import main; sys.exit(main())"


def start(flags: list[str], log: Path) -> subprocess.Popen[bytes]:
    def as_in_the_foreground() -> None:
        # A shell lets what it starts in the background, this test perhaps, ignore Ctrl-C.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "run", *flags],
        stdout=subprocess.DEVNULL,
        stderr=log.open("wb"),
        start_new_session=True,
        preexec_fn=as_in_the_foreground,
    )


def wait_for(
    there: Callable[[], bool], process: subprocess.Popen[bytes], seconds: int = 240
) -> None:
    """Wait until `there()`; fail when the process ends before."""
    end = time.monotonic() + seconds
    while not there():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < end, "the run never came this far"
        time.sleep(0.02)


def slow_flags(phantoms: Path, out: Path) -> list[str]:
    """Flags of a run whose trainings last long enough to be hit."""
    flags = [f for f in run_flags(phantoms, out) if "epochs=" not in f]
    return [*flags, "--segmentation.epochs=4", "--classification.epochs=4"]


def complete(folder: Path, step: str) -> bool:
    path = folder / "steps" / f"{step}.json"
    return path.is_file() and bool(read_json(path)["complete"])


@pytest.mark.slow
def test_kill_9_in_every_training_and_then_the_same_command(phantoms: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    flags = slow_flags(phantoms, out)
    for stage in ("segmentation", "classification"):
        process = start(flags, tmp_path / "log")
        last = out / stage / "member-0" / "checkpoints" / "last.ckpt"
        wait_for(last.is_file, process)
        process.kill()
        process.wait()
    assert complete(out, "segment") and complete(out, "cache")
    weights = (out / "segmentation" / "member-0" / "weights.safetensors").stat().st_mtime_ns
    process = start(flags, tmp_path / "log")
    assert process.wait(600) == 0
    text = (tmp_path / "log").read_text()
    assert "segment: skipped" in text and "cache: skipped" in text
    assert "an earlier try was cut off" in text and "going on from" in text
    assert (out / "segmentation" / "member-0" / "weights.safetensors").stat().st_mtime_ns == weights
    assert (out / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_one_line_and_130(phantoms: Path, tmp_path: Path, sign: int) -> None:
    out = tmp_path / "run"
    flags = slow_flags(phantoms, out)
    process = start(flags, tmp_path / "log")
    wait_for((out / "segmentation" / "member-0" / "metrics.csv").is_file, process)
    process.send_signal(sign)
    assert process.wait(120) == 130
    lines = (tmp_path / "log").read_text().strip().splitlines()
    assert "Traceback" not in "\n".join(lines)
    assert "interrupted" in lines[-1] and "same command again" in lines[-1]
    assert not complete(out, "segment")
