"""Faults of the machine in the words of a person: a killed worker, memory that ran out."""

from __future__ import annotations

import re

from lesioncore.errors import LesionError

_AGAIN = "give the same command again, it goes on where it stopped"


def fault_of_machine(error: BaseException) -> LesionError | None:
    """Return what to tell a person of an error that the machine made, or None for our own faults.

    Torch's errors are known by name and words, so that torch need not be imported here.
    """
    text = str(error)
    killed = re.search(r"DataLoader worker \(pid\(?s?\)? ([\d, ]+)\)", text)
    if killed:
        how = re.search(r"killed by signal: ([^.]+)\.", text)
        return LesionError(
            f"a loader process ({killed[1].strip()}) was killed"
            + (f" ({how[1].strip()})" if how else ""),
            wanted="loader processes that live as long as the work",
            mend=f"{_AGAIN}; where memory ran out (Killed, Bus error), with fewer --workers",
        )
    if type(error).__name__ == "OutOfMemoryError" or "CUDA out of memory" in text:
        return LesionError(
            "the GPU has no memory left", mend="a smaller --batch-size or --size, or --device cpu"
        )
    if isinstance(error, MemoryError) or "DefaultCPUAllocator: can't allocate" in text:
        return LesionError(
            "this machine has no memory left",
            mend=f"a smaller --batch-size or fewer --workers; {_AGAIN}",
        )
    return None
