"""`python -m pipelines.command_reference`: every command and flag as a page of the docs."""

from __future__ import annotations

import dataclasses
import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lesioncore.commands import Command, CommandTree
from lesioncore.flags import field_help, preset_names

INTRODUCTION = """\
# Commands

Three programs: `segstage` learns and applies lesion masks, `clsstage` learns and applies the
probability of malignancy, `lesion` does both and everything around them. This page is made from
the programs themselves: `python -m pipelines.command_reference docs/reference/commands.md`.

What holds for all of them:

- `--help` tells the flags, `--print-config` the resolved config as YAML, and `--config FILE` reads
  such a YAML back. Flags win over a config, a config over a preset, whatever their order. Dashes
  and underscores in flags are the same. An unknown key or flag is refused.
- A flag that is true or false needs no value (`--dry-run`). A flag that takes a list is said
  several times (`--force segment --force report`), with several words (`--force segment report`;
  not where words stand without a flag, as in `lesion predict`), or as a list
  (`--force '[segment, report]'`).
- Results for machines go to files or to stdout; progress and logs go to stderr, without bars when
  stderr is not a terminal.
- Exit codes: 0 done; 1 the work failed; 2 the call was wrong; 130 interrupted (Ctrl-C or SIGTERM).
  After an interrupt or a kill the same command goes on where it stopped.
- Errors say what was found, what was wanted and what mends it. `LESION_TRACEBACK=1` adds the trace.
"""


def programs() -> dict[str, tuple[str, CommandTree]]:
    """Return each program with what it is for and its commands."""
    from clsstage.commands import COMMANDS as CLSSTAGE
    from pipelines.commands import COMMANDS as LESION
    from segstage.commands import COMMANDS as SEGSTAGE

    return {
        "lesion": ("End to end.", LESION),
        "segstage": ("Stage 1: masks.", SEGSTAGE),
        "clsstage": ("Stage 2: malignancy.", CLSSTAGE),
    }


def page() -> str:
    """Return the page as Markdown."""
    parts = [INTRODUCTION]
    for program, (purpose, tree) in programs().items():
        parts.append(f"## {program}\n\n{purpose}\n")
        for words, command in _commands(tree):
            parts.append(_section(" ".join((program, *words)), command))
    return "\n".join(parts)


def _commands(tree: CommandTree, path: tuple[str, ...] = ()) -> Iterator[tuple[Any, Command]]:
    for name, node in tree.items():
        below = node.commands if isinstance(node, Command) else node
        if isinstance(node, Command):
            yield (*path, name), node
        yield from _commands(below, (*path, name))


def _section(name: str, command: Command) -> str:
    lines = [f"### {name}", "", f"{command.help[0].upper()}{command.help[1:]}.", ""]
    if command.presets:
        names = preset_names(command.presets)
        if names:
            lines += [f"Presets for `--preset`: {', '.join(f'`{one}`' for one in names)}.", ""]
    lines += ["| flag | value | default | what |", "| --- | --- | --- | --- |"]
    positional = command.positional[0] if command.positional else None
    lines += [
        f"| {flag} | {_cell(kind)} | {_cell(default)} | {what} |"
        for flag, kind, default, what in _rows(command.config, positional)
    ]
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    escaped = text.replace("|", "\\|")
    return f"`{escaped}`" if text else ""


def _rows(
    config: type, positional: str | None, prefix: str = ""
) -> Iterator[tuple[str, str, str, str]]:
    hints = typing.get_type_hints(config)
    helps = field_help(config)
    for item in dataclasses.fields(config):
        hint = hints[item.name]
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            yield from _rows(hint, None, f"{prefix}{item.name}.")
            continue
        flag = f"`--{prefix}{item.name.replace('_', '-')}`"
        if item.name == positional:
            flag = f"`{item.name.upper()}...`"
        what = " ".join(helps.get(item.name, "").split()).replace("|", "\\|")
        yield flag, _type_words(hint), _default_words(item, positional), what


def _type_words(hint: Any) -> str:
    if isinstance(hint, type) and not typing.get_args(hint):
        return {"str": "text", "float": "number", "int": "integer", "Path": "path",
                "bool": "true or false"}.get(hint.__name__, hint.__name__)  # fmt: skip
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " | ".join(str(arg) for arg in args)
    if origin is list:
        return f"list of {_type_words(args[0])}"
    if origin is dict:
        return "mapping"
    return " | ".join(_type_words(arg) for arg in args if arg is not type(None))


def _default_words(item: dataclasses.Field[Any], positional: str | None) -> str:
    if item.default is not dataclasses.MISSING:
        default = item.default
    elif item.default_factory is not dataclasses.MISSING:
        default = item.default_factory()
    else:
        return "required"
    if item.name == positional:
        return "required"
    if default is None or default == [] or default == {}:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return re.sub(r"^PosixPath\('(.*)'\)$", r"\1", str(default))


def main() -> None:
    """Write the page to the file named, or to stdout."""
    if len(sys.argv) > 1:
        from lesioncore.files import write_text

        write_text(Path(sys.argv[1]), page())
    else:
        print(page())


if __name__ == "__main__":
    main()
