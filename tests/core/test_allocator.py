"""The C library keeps what it is told to keep."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from lesioncore import allocator

GLIBC = platform.libc_ver()[0] == "glibc"
FAULTS = """
import resource, sys
import numpy as np
from lesioncore.allocator import keep_memory
if sys.argv[1] == "keep":
    assert keep_memory()
np.ones(5_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(5_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not GLIBC, reason="another C library than glibc")
def test_blocks_that_are_freed_and_taken_again_cost_no_page_faults():
    faults = {
        how: int(subprocess.check_output([sys.executable, "-c", FAULTS, how]))
        for how in ("keep", "plain")
    }
    # With huge pages a block of 40 MB is some twenty faults, without them ten thousand.
    assert faults["plain"] > 100
    assert faults["keep"] < faults["plain"] / 4


def test_another_system_is_left_alone(monkeypatch):
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    assert not allocator.keep_memory()
    monkeypatch.setattr(allocator.sys, "platform", "linux")

    def absent(_name):
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert not allocator.keep_memory()
