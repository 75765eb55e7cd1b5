"""An interrupt is never lost, and never a trace."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from lesioncore.interrupts import Interrupts


class Ending:
    """Is interrupted while Python takes it away, as a loader is between two epochs."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_where_python_ignores_it_comes_again(
    number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    # A shell that starts the tests in the background has them ignore interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    before = sys.unraisablehook, signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), Interrupts():
        ending = Ending(number)
        del ending
        time.sleep(5)
    assert capsys.readouterr().err == ""
    assert (sys.unraisablehook, signal.getsignal(signal.SIGTERM)) == before
