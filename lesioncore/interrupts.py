"""Ctrl-C and a scheduler's SIGTERM end a command the same way, wherever they strike."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import TracebackType
from typing import Any


class Interrupts:
    """While entered, SIGTERM is a KeyboardInterrupt, and no interrupt is lost or shown as a trace.

    Python ignores an exception in a ``__del__`` or beside a fork, and prints it: between two
    epochs, while loader workers end and begin, an interrupt would be that. It is sent once more.
    """

    def __enter__(self) -> Interrupts:
        self._timer: threading.Timer | None = None
        self._pid = os.getpid()
        self._usual = sys.unraisablehook
        self._terminate = signal.signal(signal.SIGTERM, _interrupt)
        sys.unraisablehook = self._unraisable
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        sys.unraisablehook = self._usual
        signal.signal(signal.SIGTERM, self._terminate)

    def _unraisable(self, ignored: Any) -> None:
        if not isinstance(ignored.exc_value, KeyboardInterrupt):
            self._usual(ignored)
        elif os.getpid() == self._pid:
            self._timer = threading.Timer(0.1, os.kill, (self._pid, signal.SIGINT))
            self._timer.daemon = True
            self._timer.start()


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
