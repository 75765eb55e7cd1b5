"""Steps of a run: each is done once, and again only when what went into it has changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lesioncore.errors import LesionError, unknown_name
from lesioncore.files import read_json, write_json
from lesioncore.progress import log
from lesioncore.runs import now, tool_version
from pipelines.report_text import duration

STATE_SCHEMA = 1
_NAMED_DIFFERENCES = 3


@dataclass(frozen=True)
class Step:
    """One step of a run.

    Attributes
    ----------
    name : str
        The word for `--force` and for the log.
    help : str
        What it does, for the plan.
    result : Path
        What it leaves behind.
    inputs : callable
        Returns all that its result depends on, as nested plain values; the steps before it have
        been done when it is called.
    run : callable
        Does the work; goes on by itself where an earlier try was cut off.
    done : callable, optional
        Whether `result` is there and whole; by default, whether it exists.
    after : tuple of str
        Steps whose results go into this one.
    keep_old : bool
        Whether a result of other inputs is moved aside, not deleted: trainings take hours.
    clear : callable, optional
        Takes a result of other inputs out of the way in its own manner; its argument says whether
        that was forced.
    defaults : dict
        Values of inputs that came with a later version: what an older one wrote had these.
    """

    name: str
    help: str
    result: Path
    inputs: Callable[[], dict[str, Any]]
    run: Callable[[], None]
    done: Callable[[], bool] | None = None
    after: tuple[str, ...] = ()
    keep_old: bool = False
    clear: Callable[[bool], None] | None = None
    defaults: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """Whether a step runs, and why or why not."""

    runs: bool
    why: str
    fresh: bool = False  # an old result of other inputs is in the way


class Ledger:
    """State files of the steps, `steps/NAME.json` in the folder of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "steps"

    def read(self, name: str) -> dict[str, Any] | None:
        """Return the state of a step, None when it was never started."""
        path = self.folder / f"{name}.json"
        if not path.is_file():
            return None
        state = read_json(path)
        if not isinstance(state, dict) or state.get("schema_version") != STATE_SCHEMA:
            raise LesionError(
                f"{path} was made by another version of lesion-pipeline",
                wanted=f"schema_version {STATE_SCHEMA}",
                mend="choose another --out, or upgrade lesion-pipeline",
            )
        return state

    def write(self, name: str, **state: Any) -> None:
        """Write the state of a step."""
        write_json(
            self.folder / f"{name}.json",
            {"schema_version": STATE_SCHEMA, "name": name, "tool_version": tool_version()} | state,
        )


def decide(step: Step, ledger: Ledger, force: Iterable[str]) -> Decision:
    """Return whether `step` runs; the steps before it have been done."""
    state = ledger.read(step.name)
    there = step.done() if step.done is not None else step.result.exists()
    if step.name in force:
        return Decision(True, "by --force", fresh=state is not None)
    if state is None:
        return Decision(True, "its result is not there yet")
    differing = differences(_completed(state["inputs"], step.defaults), step.inputs())
    if differing:
        return Decision(True, f"since {_named(differing)}", fresh=True)
    if not state.get("complete"):
        return Decision(True, "an earlier try was cut off; it goes on from there")
    if not there:
        return Decision(True, f"{step.result} is gone")
    return Decision(False, f"{step.result} is there and its inputs are the same")


def run_steps(steps: Sequence[Step], ledger: Ledger, force: Sequence[str] = ()) -> list[str]:
    """Do the steps in order; return the names of those that were not skipped.

    Raises
    ------
    LesionError
        A step failed; those before it are kept, and the same command goes on from it.
    UsageError
        `force` names no step.
    """
    check_force(steps, force)
    ran = []
    for number, step in enumerate(steps, start=1):
        decision = decide(step, ledger, force)
        label = f"[{number}/{len(steps)}] {step.name}"
        if not decision.runs:
            log.info("%s: skipped: %s", label, decision.why)
            continue
        log.info("%s: %s (runs: %s)", label, step.help, decision.why)
        if decision.fresh and step.clear is not None:
            step.clear(step.name in force)
        elif decision.fresh:
            clear(step)
        inputs = step.inputs()
        before = ledger.read(step.name) or {}
        # Time of a try that was cut off counts, so that the report's times are true.
        spent = 0.0 if decision.fresh else float(before.get("seconds") or 0.0)
        started = time.monotonic()
        state: dict[str, Any] = {
            "number": number,
            "inputs": inputs,
            "result": step.result.name + ("/" if step.result.suffix == "" else ""),
            "started": now(),
        }
        ledger.write(step.name, **state, seconds=spent, complete=False)
        try:
            step.run()
        except BaseException:
            seconds = spent + time.monotonic() - started
            ledger.write(step.name, **state, seconds=seconds, complete=False)
            raise
        seconds = spent + time.monotonic() - started
        ledger.write(step.name, **state, seconds=seconds, finished=now(), complete=True)
        log.info("%s: done in %s", label, duration(seconds))
        ran.append(step.name)
    return ran


def plan(steps: Sequence[Step], ledger: Ledger, force: Sequence[str] = ()) -> list[str]:
    """Return one line a step: what would be done, and why or why not; nothing is done."""
    check_force(steps, force)
    lines = []
    running: set[str] = set()
    width = max(len(step.name) for step in steps)
    for number, step in enumerate(steps, start=1):
        behind = [name for name in step.after if name in running]
        if behind and step.name not in force:
            decision = Decision(True, f"follows {' and '.join(behind)}")
        else:
            decision = decide(step, ledger, force)
        if decision.runs:
            running.add(step.name)
        verb = "run " if decision.runs else "skip"
        lines.append(f"{number}. {step.name:<{width}}  {verb}  {step.help}: {decision.why}")
    return lines


def check_force(steps: Sequence[Step], force: Sequence[str]) -> None:
    """Refuse a `--force` of no step of this run."""
    known = [step.name for step in steps]
    for name in force:
        if name not in known:
            raise unknown_name("step", name, known)


def clear(step: Step) -> None:
    """Take an old result out of the way; a training is kept beside it as NAME~1, NAME~2, ..."""
    import shutil

    if not step.result.exists():
        return
    if step.keep_old:
        number = 1
        while (old := step.result.with_name(f"{step.result.name}~{number}")).exists():
            number += 1
        step.result.rename(old)
        log.info("the former %s is kept as %s", step.result.name, old)
    elif step.result.is_dir():
        shutil.rmtree(step.result)
    else:
        step.result.unlink()


def _completed(old: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Return nested inputs with the defaults of those that they lack."""
    found = dict(old)
    for key, value in defaults.items():
        if isinstance(value, dict) and isinstance(found.get(key), dict):
            found[key] = _completed(found[key], value)
        else:
            found.setdefault(key, value)
    return found


def differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Return the dotted names that differ in two nests of plain values, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in [*old, *(key for key in new if key not in old)]:
            found += differences(old.get(key), new.get(key), f"{prefix}{key}.")
        return found
    if _plain(old) == _plain(new):
        return []
    return [f"{prefix.rstrip('.')} was {_short(old)} and is {_short(new)}"]


def _plain(value: Any) -> Any:
    # What JSON makes of a tuple or a path must not read as a change.
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _short(value: Any) -> str:
    text = str(value)
    if len(text) == 64 and all(digit in "0123456789abcdef" for digit in text):
        return f"{text[:8]}…"
    return text if len(text) <= 60 else f"{text[:57]}…"


def _named(differing: Sequence[str]) -> str:
    shown = "; ".join(differing[:_NAMED_DIFFERENCES])
    more = len(differing) - _NAMED_DIFFERENCES
    return f"{shown}; and {more} more" if more > 0 else shown
