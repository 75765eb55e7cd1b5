"""setup.cfg names every package and every file that pages need: a wheel lacks the others."""

from __future__ import annotations

from configparser import ConfigParser
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HOUSES = ("lesioncore", "weights", "segstage", "clsstage", "pipelines")


def _setup() -> ConfigParser:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_every_package_is_named() -> None:
    there = {
        ".".join(init.parent.relative_to(ROOT).parts)
        for house in HOUSES
        for init in (ROOT / house).rglob("__init__.py")
    }
    assert set(_setup()["options"]["packages"].split()) == there


def test_every_file_of_data_is_taken() -> None:
    named = {
        package: [pattern.strip() for pattern in patterns.split(",")]
        for package, patterns in _setup()["options.package_data"].items()
    }
    left = []
    for house in HOUSES:
        for path in (ROOT / house).rglob("*"):
            if not path.is_file() or path.suffix in (".py", ".pyc"):
                continue
            inside = [
                fnmatch(str(path.relative_to(ROOT / package.replace(".", "/"))), pattern)
                for package, patterns in named.items()
                if path.is_relative_to(ROOT / package.replace(".", "/"))
                for pattern in patterns
            ]
            if not any(inside):
                left.append(str(path.relative_to(ROOT)))
    assert left == []
