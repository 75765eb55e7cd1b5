"""A family of classes by name: each registers beside its own code, a new one is a new file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Generic, TypeVar

from lesioncore.errors import unknown_name

Base = TypeVar("Base")
Kind = TypeVar("Kind", bound=type)


class Registry(Generic[Base]):
    """The members of a family.

    Parameters
    ----------
    what : str
        What errors call a member: "dataset", "segmenter".
    package : str
        Its modules hold the members; they are imported when a name is first asked for, except
        those whose own name starts with an underscore.
    """

    def __init__(self, what: str, package: str) -> None:
        self.what = what
        self.package = package
        self._members: dict[str, type[Base]] = {}

    def register(self, name: str) -> Callable[[Kind], Kind]:
        """Return a class decorator that makes a class known under `name`, its attribute `name`."""

        def keep(member: Kind) -> Kind:
            if name in self._members and self._members[name].__module__ != member.__module__:
                raise ValueError(f"two members are called {name!r} ({self.what})")
            member.name = name  # type: ignore[attr-defined]
            self._members[name] = member
            return member

        return keep

    def names(self) -> tuple[str, ...]:
        """Return the names of all members, sorted."""
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            if not module.name.startswith("_"):
                importlib.import_module(f"{self.package}.{module.name}")
        return tuple(sorted(self._members))

    def __getitem__(self, name: str) -> type[Base]:
        """Return the class called `name`; an unknown one is a `UsageError` that lists the known."""
        known = self.names()
        if name not in known:
            raise unknown_name(self.what, name, known)
        return self._members[name]
