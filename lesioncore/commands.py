"""Programs made of commands: find the verb, parse its flags, run it, answer with an exit code.

A command is named with the module that runs it; that module is imported only when the command is
called, so `--help` answers without torch, lightning or pandas.
"""

from __future__ import annotations

import importlib
import os
import sys
import textwrap
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from lesioncore.allocator import keep_memory
from lesioncore.errors import LesionError, unknown_name
from lesioncore.faults import fault_of_machine
from lesioncore.flags import Command, parse_config
from lesioncore.interrupts import Interrupts
from lesioncore.progress import log, set_up_logging

__all__ = ["Command", "CommandTree", "log_counts", "run_commands"]

INTERRUPTED = 130

CommandTree = Mapping[str, "Command | CommandTree"]


def run_commands(
    prog: str, description: str, commands: CommandTree, argv: Sequence[str] | None = None
) -> int:
    """Parse `argv`, run the command it names and return the exit code.

    0: done; 1: the work failed; 2: the call was wrong; 130: interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Threads that spin while they wait take the cores from the loader's workers: a training on
    # two cores beside anything else was several times slower. Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_memory()
    set_up_logging()
    try:
        code = _run(prog, description, commands, arguments)
        sys.stdout.flush()
        return code
    except LesionError as error:
        print(f"{prog}: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(
            f"\n{prog}: interrupted; what was finished is kept. "
            "Give the same command again to go on.",
            file=sys.stderr,
        )
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (head, say) has gone; keep the interpreter's last flush quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("LESION_TRACEBACK"):
            raise
        fault = fault_of_machine(error)
        if fault is not None:
            print(f"{prog}: error: {fault}", file=sys.stderr)
            return fault.exit_code
        where = _innermost(error)
        print(
            f"{prog}: error: {type(error).__name__}: {error}\n  at {where}\n"
            "  This is a fault of the program. LESION_TRACEBACK=1 before the same command "
            "prints the whole trace for a report.",
            file=sys.stderr,
        )
        return 1


def _run(prog: str, description: str, commands: CommandTree, arguments: list[str]) -> int:
    path: list[str] = []
    node: Command | CommandTree = commands
    while below := node.commands if isinstance(node, Command) else node:
        name = arguments[0] if arguments else "--help"
        if isinstance(node, Command) and name.startswith("-"):
            break
        if name in ("-h", "--help"):
            print(_overview(" ".join([prog, *path]), description, below))
            return 0 if arguments else 2
        if name == "--version" and not path:
            from importlib.metadata import version

            print(f"{prog} {version('lesion-pipeline')}")
            return 0
        if name not in below:
            raise unknown_name("command", name, below)
        path.append(name)
        node = below[name]
        arguments = arguments[1:]
    assert isinstance(node, Command)
    config = parse_config(" ".join([prog, *path]), node, arguments)
    if config is None:
        return 0
    module, _, function = node.run.partition(":")
    with Interrupts():
        code = getattr(importlib.import_module(module), function)(config)
    return int(code or 0)


def _overview(prog: str, description: str, commands: CommandTree) -> str:
    rows = [
        (name, node.help if isinstance(node, Command) else " | ".join(node))
        for name, node in commands.items()
    ]
    width = max(len(name) for name, _ in rows)
    body = "\n".join(f"  {name:<{width}}  {text}" for name, text in rows)
    return (
        f"usage: {prog} COMMAND ...\n\n{textwrap.fill(description, 88)}\n\ncommands:\n{body}\n\n"
        f"`{prog} COMMAND --help` tells the flags of a command."
    )


def _innermost(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "an unknown place"
    last = frames[-1]
    return f"{Path(last.filename).name}:{last.lineno} in {last.name}"


def log_counts(counts: Mapping[str, int], what: str) -> None:
    """Log how many items ended in each status, e.g. `120 masks: 118 ok, 2 failed`."""
    total = sum(counts.values())
    parts = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    log.info("%d %s: %s", total, what, parts or "none")
