"""The classifier families by name. Each registers beside its own code."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from lesioncore.errors import unknown_name

if TYPE_CHECKING:
    from clsstage.models.classifier import Classifier

_FACTORIES: dict[str, Callable[..., Classifier]] = {}
Factory = TypeVar("Factory", bound=Callable[..., Any])


def register_classifier(name: str) -> Callable[[Factory], Factory]:
    """Register a class or function that makes a classifier under `name`."""

    def register(factory: Factory) -> Factory:
        _FACTORIES[name] = factory
        return factory

    return register


def create_classifier(name: str, **options: Any) -> Classifier:
    """Return a new classifier.

    Parameters
    ----------
    name : str
        One of `classifier_names()`.
    **options
        What the family takes, e.g. `backbone`, `metadata_width`, `in_channels`, `dropout`.

    Raises
    ------
    UsageError
        No such family, or no such backbone.
    """
    _import_all()
    if name not in _FACTORIES:
        raise unknown_name("classifier", name, _FACTORIES)
    return _FACTORIES[name](**options)


def classifier_names() -> tuple[str, ...]:
    """Return the names of the families, sorted."""
    _import_all()
    return tuple(sorted(_FACTORIES))


def classifier_lines() -> dict[str, str]:
    """Return name to the first line of each family's docstring."""
    _import_all()
    return {
        name: (_FACTORIES[name].__doc__ or "").strip().splitlines()[0]
        for name in sorted(_FACTORIES)
    }


def _import_all() -> None:
    # A new family is a new file in this folder and nothing else.
    import clsstage.models as package

    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{package.__name__}.{module.name}")
