"""Flags of a command from its frozen dataclass: YAML by `--config`, any field over it."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lesioncore.errors import LesionError, UsageError, unknown_name
from lesioncore.mistakes import readable


@dataclasses.dataclass(frozen=True)
class Command:
    """A verb of a program.

    Parameters
    ----------
    config : type
        Frozen dataclass whose fields become flags; `Args:` lines of its docstring become the help.
    run : str
        `module:function`; the function takes the config and returns an exit code or None.
    help : str
        One line.
    positional : (str, str), optional
        Field given without a flag, and its argparse `nargs` ("+", "*", "?").
    presets : str, optional
        Package that holds NAME.yaml files for `--preset NAME`.
    commands : mapping of str to Command, optional
        Further verbs below this one: `lesion qa --masks DIR` does its work, `lesion qa export`
        another. Such a command takes nothing but flags.
    """

    config: type
    run: str
    help: str
    positional: tuple[str, str] | None = None
    presets: str | None = None
    commands: Mapping[str, Command] = dataclasses.field(default_factory=dict)


def parse_config(prog: str, command: Command, arguments: Sequence[str]) -> Any:
    """Return the config that `arguments` describe, or None when they only asked to print.

    Raises
    ------
    UsageError
        An unknown flag, a value of another type, a missing required flag, an unreadable YAML.
    """
    parser = _parser(prog, command)
    given = _preset_first(command, arguments)
    arguments = normal_flags(command.config, given, alone=command.positional is not None)
    try:
        parsed = parser.parse_args(arguments)
    except SystemExit as done:  # --help and --print_config
        if done.code in (0, None):
            return None
        raise
    except _ParseError as error:
        alone = command.positional[0] if command.positional else None
        said = readable(str(error), _all_fields(command.config), alone)
        raise UsageError(said, mend=f"see `{prog} --help`") from None
    values = parser.instantiate(parsed)
    fields = {field.name for field in dataclasses.fields(command.config)}
    kept = {name: getattr(values, name) for name in fields if hasattr(values, name)}
    try:
        return command.config(**kept)
    except ValueError as error:  # checks in __post_init__
        raise UsageError(str(error), mend=f"see `{prog} --help`") from None


class _ParseError(Exception):
    pass


def _parser(prog: str, command: Command) -> Any:
    from jsonargparse import ArgumentParser

    class Parser(ArgumentParser):
        def error(self, message: str, ex: Exception | None = None) -> Any:
            raise _ParseError(message)

        def format_help(self, formatter: Any = None) -> str:
            text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", super().format_help(formatter))
            return re.sub(r"--[a-z][\w.]*", lambda flag: flag[0].replace("_", "-"), text)

    said = f"{command.help[0].upper()}{command.help[1:]}."
    for name, below in command.commands.items():
        said += f" See also `{prog} {name}`: {below.help}."
    parser = Parser(prog=prog, description=said)
    parser.add_argument("--config", action="config", help="YAML file with any of the flags below")
    if command.presets:
        known = ", ".join(preset_names(command.presets))
        parser.add_argument(
            "--preset", metavar="NAME", help=f"start from a shipped config ({known}); flags win"
        )
    skip = set()
    if command.positional:
        name, nargs = command.positional
        skip.add(name)
        field = next(f for f in dataclasses.fields(command.config) if f.name == name)
        parser.add_argument(
            name,
            nargs=nargs,
            type=Path if "Path" in str(field.type) else str,
            help=field_help(command.config).get(name),
            metavar=name.upper(),
        )
    parser.add_class_arguments(command.config, as_positional=False, skip=skip, as_group=False)
    return parser


def normal_flags(config: type, arguments: Sequence[str], *, alone: bool = False) -> list[str]:
    """Return `arguments` in the one spelling that the parser knows.

    `--dry-run` becomes `--dry_run`; a flag of a boolean field needs no value; a flag of a list
    field may be said several times and take several words, and all that was said is the list.

    Parameters
    ----------
    config : type
    arguments : sequence of str
    alone : bool
        The command takes words without a flag: then a flag takes one word at a time.
    """
    kinds = _field_kinds(config)
    lists: dict[str, list[str]] = {}
    plain: list[str] = []
    words = iter(arguments)
    pending: str | None = None
    while (word := pending if pending is not None else next(words, None)) is not None:
        pending = None
        if not word.startswith("--") or word == "--":
            plain.append(word)
            continue
        flag, equals, value = word[2:].partition("=")
        name = _field_of(flag, kinds)
        if name in ("print_config", "help"):
            plain.append(f"--{name}{equals}{value}")
        elif kinds.get(name) == "bool" and not equals:
            pending = next(words, None)
            given = pending is not None and pending.lower() in ("true", "false", "yes", "no")
            plain.append(f"--{name}={pending if given else 'true'}")
            pending = None if given else pending
        elif kinds.get(name) == "list":
            text = value if equals else next(words, "")
            if text.startswith("[") or text in ("null", "none"):
                plain.append(f"--{name}={'null' if text == 'none' else text}")
            else:
                lists.setdefault(name, []).append(text)
                while not alone and (pending := next(words, None)) is not None:
                    if pending.startswith("-"):
                        break
                    lists[name].append(pending)
        elif kinds.get(name) == "mapping":
            plain.append(f"--{name}={_all_text(value if equals else next(words, ''))}")
        else:
            plain.append(f"--{name}{equals}{value}")
    return plain + [f"--{name}={json.dumps(values)}" for name, values in lists.items()]


def _all_fields(config: type, prefix: str = "") -> list[str]:
    hints = typing.get_type_hints(config)
    names: list[str] = []
    for field in dataclasses.fields(config):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            names += _all_fields(hint, f"{prefix}{field.name}.")
        else:
            names.append(prefix + field.name)
    return names


def _field_kinds(config: type, prefix: str = "") -> dict[str, str]:
    kinds: dict[str, str] = {}
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            kinds |= _field_kinds(hint, f"{prefix}{field.name}.")
        elif hint is bool:
            kinds[prefix + field.name] = "bool"
        elif any(typing.get_origin(part) is list for part in (hint, *typing.get_args(hint))):
            kinds[prefix + field.name] = "list"
        elif any(typing.get_origin(part) is dict for part in (hint, *typing.get_args(hint))):
            kinds[prefix + field.name] = "mapping"
    return kinds


def field_help(config: type) -> dict[str, str]:
    """Return the help of each field, from the `Args:` of the class and of those it builds on."""
    from docstring_parser import parse

    return {
        param.arg_name: param.description or ""
        for kind in reversed(config.__mro__)
        if dataclasses.is_dataclass(kind)
        for param in parse(kind.__doc__ or "").params
    }


def _preset_first(command: Command, arguments: Sequence[str]) -> list[str]:
    """Replace `--preset NAME` by the config it names, ahead of everything, so that flags win."""
    if not command.presets:
        return list(arguments)
    rest = list(arguments)
    for at, word in enumerate(rest):
        if word == "--preset" and at + 1 < len(rest):
            name, taken = rest[at + 1], 2
        elif word.startswith("--preset="):
            name, taken = word.partition("=")[2], 1
        else:
            continue
        del rest[at : at + taken]
        return ["--config", str(preset_path(command.presets, name)), *rest]
    return rest


def preset_names(package: str) -> list[str]:
    """Return the names of the configs shipped in `package`."""
    return sorted(path.stem for path in _preset_folder(package).glob("*.yaml"))


def preset_path(package: str, name: str) -> Path:
    """Return the YAML file of a shipped config; an unknown name lists the known."""
    path = _preset_folder(package) / f"{name}.yaml"
    if not path.is_file():
        raise unknown_name("preset", name, preset_names(package))
    return path


def _preset_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise LesionError(f"the package {package} is not installed", mend="install the project")
    return Path(next(iter(spec.submodule_search_locations)))


def _field_of(flag: str, kinds: dict[str, str]) -> str:
    """Return a flag with underscores; a key of a mapping (`--also.isic-task1`) stays as it is."""
    name = flag.replace("-", "_")
    mapping, dot, _ = name.rpartition(".")
    if dot and kinds.get(mapping) == "mapping":
        return f"{mapping}.{flag[len(mapping) + 1 :]}"
    return name


def _all_text(mapping: str) -> str:
    """Return a YAML mapping with every value as text: a column named `no` is not false."""
    import yaml

    try:
        read = yaml.load(mapping, Loader=yaml.BaseLoader)
    except yaml.YAMLError:
        return mapping
    return json.dumps(read, ensure_ascii=False) if isinstance(read, dict) else mapping
