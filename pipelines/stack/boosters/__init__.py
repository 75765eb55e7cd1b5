"""Gradient boosting by three libraries behind one face; each is imported only when used."""

from pipelines.stack.boosters._base import (
    Booster,
    Settings,
    Task,
    booster_class,
    booster_names,
    library,
)

__all__ = ["Booster", "Settings", "Task", "booster_class", "booster_names", "library"]
