"""Progress bars on a terminal, plain log lines elsewhere; always on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

Item = TypeVar("Item")

log = logging.getLogger("lesion")


def set_up_logging(level: int = logging.INFO) -> None:
    """Send the log lines of this project to stderr, once, without the other libraries' chatter."""
    if not log.handlers:
        handler = _CurrentStderr()
        handler.setFormatter(_Formatter())
        log.addHandler(handler)
        log.propagate = False
    log.setLevel(level)


class _CurrentStderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Looks stderr up at each line, so that a bar or a test that replaces it is respected."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        return text if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {text}"


def is_terminal() -> bool:
    """Whether a person watches stderr."""
    return bool(getattr(sys.stderr, "isatty", lambda: False)())


def track(
    items: Iterable[Item], description: str, total: int | None = None, *, advance: int = 1
) -> Iterator[Item]:
    """Yield `items` with a progress bar on a terminal; in silence elsewhere.

    Parameters
    ----------
    items : iterable
        What the loop runs over.
    description : str
        What is being done, for the bar.
    total : int, optional
        How many units in all; taken from `len(items)` when it has one.
    advance : int
        Units an item stands for (the batch size, say).
    """
    if total is None and isinstance(items, Sized):
        total = len(items) * advance
    if not is_terminal():
        yield from items
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as progress:
        task = progress.add_task(description, total=total)
        for item in items:
            yield item
            progress.advance(task, advance)
