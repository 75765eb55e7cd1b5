"""What a wrong call is told: jsonargparse's messages in the words of a person."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "dict": "a mapping such as '{image_id: id, target: label}'",
    "list": "a list such as '[a, b]'",
}


def spelled(name: str) -> str:
    """Return the flag of a field as the documentation spells it."""
    return f"--{name.replace('_', '-')}"


def readable(message: str, fields: Iterable[str], positional: str | None = None) -> str:
    """Return what `message` says of the mistake, without the parser's internal wording.

    Parameters
    ----------
    message : str
        Of jsonargparse.
    fields : iterable of str
        The names of the flags there are, for the one that may have been meant.
    positional : str, optional
        The field that is given without a flag.
    """
    text = " ".join(message.split())
    if required := re.fullmatch(r"the following arguments are required: (.*)", text):
        names = required[1].split(", ")
        return "missing: " + ", ".join(
            name.upper() if name == positional else spelled(name) for name in names
        )
    if unknown := re.fullmatch(r"unrecognized arguments: (.*)", text):
        return _unknown(unknown[1].split(), fields)
    if stray := re.fullmatch(r"Option '(.*)' is not accepted", text):
        return _unknown([spelled(stray[1])], fields)
    if wrong := re.match(r'Parser key "([\w.]+)": (?=Expected|Does not validate)', text):
        return _wrong_value(wrong[1], text[wrong.end() :])
    return text.replace("Parser key ", "").replace("Validation failed: ", "")


def _unknown(words: list[str], fields: Iterable[str]) -> str:
    flags = [spelled(name) for name in fields]
    said = []
    for word in words:
        flag = word.partition("=")[0].replace("_", "-")
        if not word.startswith("--"):
            continue
        close = difflib.get_close_matches(flag, flags, n=1)
        said.append(f"unknown flag {flag}" + (f" (did you mean {close[0]}?)" if close else ""))
    return "; ".join(said) or f"unexpected {' '.join(words)!r}"


def _wrong_value(name: str, text: str) -> str:
    found = re.search(r"^.*(?:Given value|Got value): (.*)$", text)
    kinds = re.findall(r"Expected an? (typing\.Literal\[[^]]*\]|<class '[\w.]+'>|[\w.]+)", text)
    wanted = [_kind(kind) for kind in dict.fromkeys(kinds) if "NoneType" not in kind]
    value = found[1].strip("\"'") if found else "of another kind"
    return f"{spelled(name)} is {value}: wanted {' or '.join(wanted) or 'something else'}"


def _kind(kind: str) -> str:
    if options := re.search(r"Literal\[(.*)\]", kind):
        return "one of " + options[1].replace("'", "")
    name = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", kind).rpartition(".")[2]
    return _KINDS.get(name, name)
