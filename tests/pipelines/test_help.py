"""`--help` answers within a second and imports nothing heavy, for every command."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import pytest

PROGRAMS = {
    "lesion": "pipelines.commands",
    "segstage": "segstage.commands",
    "clsstage": "clsstage.commands",
}
HEAVY = ("torch", "lightning", "pandas", "timm", "cv2", "matplotlib", "sklearn", "h5py")

_PROBE = """
import sys
from {module} import main
code = main({arguments!r})
heavy = [name for name in {heavy!r} if name in sys.modules]
print("heavy:", heavy, file=sys.stderr)
sys.exit(code or len(heavy))
"""


def ask(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = _PROBE.format(module=PROGRAMS[program], arguments=list(arguments), heavy=HEAVY)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def commands_of(program: str) -> list[tuple[str, ...]]:
    import importlib

    from lesioncore.commands import Command

    def walk(node, path):
        for name, below in node.items():
            if isinstance(below, Command):
                yield (*path, name)
            else:
                yield from walk(below, (*path, name))

    return list(walk(importlib.import_module(PROGRAMS[program]).COMMANDS, ()))


ALL = [(program, *path) for program in PROGRAMS for path in commands_of(program)]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_median_of_five_is_under_a_second(program: str) -> None:
    times = []
    for _ in range(5):
        started = time.perf_counter()
        done = ask(program, "--help")
        times.append(time.perf_counter() - started)
        assert done.returncode == 0, done.stderr
    assert statistics.median(times) < 1.0


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_no_help_imports_anything_heavy(words: tuple[str, ...]) -> None:
    done = ask(*words, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {' '.join(words)}")
    assert "heavy: []" in done.stderr


def test_lesion_lists_its_commands() -> None:
    text = ask("lesion", "--help").stdout
    for name in ("demo", "run", "predict", "prepare", "overlay", "evaluate", "report", "doctor",
                 "cache"):  # fmt: skip
        assert f"\n  {name} " in text
