"""Where to compute and in which precision, chosen by what the machine has."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from lesioncore.errors import UsageError

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16", "fp16"]


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of that name; `auto` takes a GPU when there is one.

    Raises
    ------
    UsageError
        The named device is not on this machine.
    """
    import torch

    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": _has_mps()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if present[kind])
    kind = name.split(":")[0]
    if not present.get(kind, False):
        have = ", ".join(kind for kind, there in present.items() if there)
        raise UsageError(
            f"no {name!r} device on this machine", wanted=f"one of: {have}", mend="--device auto"
        )
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> Precision:
    """Return the arithmetic to use; `auto` is bf16 on GPUs that have it, else fp32."""
    if name == "auto":
        import torch

        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if name not in ("fp32", "bf16", "fp16"):
        raise UsageError(f"unknown precision {name!r}", wanted="auto, fp32, bf16 or fp16")
    return name  # type: ignore[return-value]


def arithmetic(precision: Precision, device: torch.device) -> torch.autocast:
    """Return the context in which a network predicts in this precision."""
    import torch

    kind = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, kind, enabled=precision != "fp32")


def choose_workers(count: int = -1) -> int:
    """Return how many loader processes to start; -1 is one a core, eight at most."""
    return min(core_count(), 8) if count < 0 else count


def core_count() -> int:
    """Return the cores this process may use (affinity, so that containers are respected)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _has_mps() -> bool:
    import torch

    return torch.backends.mps.is_available()
