"""What the machine did is told apart from what we did wrong."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lesioncore.faults import fault_of_machine

KILLED = """
import os, signal, sys
import torch
from torch.utils.data import DataLoader, Dataset
from lesioncore.commands import run_commands
from lesioncore.flags import Command

class Items(Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, row):
        os.kill(os.getpid(), signal.SIGKILL)

def work(config):
    list(DataLoader(Items(), num_workers=1))

import types, dataclasses
module = types.ModuleType("work_of_a_test")
module.work = work
sys.modules["work_of_a_test"] = module
@dataclasses.dataclass(frozen=True)
class Config:
    '''Do it.'''
sys.exit(run_commands("program", "", {"do": Command(Config, "work_of_a_test:work", "do")}, ["do"]))
"""


def test_a_killed_worker_is_named_with_what_to_do():
    found = subprocess.run(
        [sys.executable, "-c", KILLED], capture_output=True, text=True, check=False, env=os.environ
    )
    assert found.returncode == 1
    assert "a loader process (" in found.stderr
    assert "fewer --workers" in found.stderr
    assert "fault of the program" not in found.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "this machine has no memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "this machine"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "the GPU has no memory"),
        (RuntimeError("DataLoader worker (pid(s) 12, 13) exited unexpectedly"), "(12, 13)"),
    ],
)
def test_memory_that_ran_out_is_named(error, said):
    assert said in str(fault_of_machine(error))


def test_our_own_faults_stay_ours():
    assert fault_of_machine(RuntimeError("shapes differ")) is None
