"""Running the same job for many numbers, here or in several processes that end with this one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait

from lesioncore.errors import LesionError
from lesioncore.progress import track


def run_jobs(
    job: Callable[[int], None], numbers: Sequence[int], workers: int, description: str
) -> None:
    """Call `job` for each number.

    Parameters
    ----------
    job : callable
        Can be pickled; leaves its result in a file.
    numbers : sequence of int
    workers : int
        Processes; up to 1 is this one.
    description : str
        For the progress bar.

    Raises
    ------
    LesionError
        A worker was killed, or what a job raised. What other jobs finished is kept.
    """
    if min(workers, len(numbers)) <= 1:
        for number in track(numbers, description):
            job(number)
        return
    # Spawned, not forked: threads of OpenCV and NumPy do not survive a fork.
    with ProcessPoolExecutor(
        min(workers, len(numbers)), multiprocessing.get_context("spawn"), _start_worker
    ) as executor:
        try:
            waiting = [executor.submit(job, number) for number in numbers]
            for done in track(as_completed(waiting), description, len(waiting)):
                done.result()
        except BrokenProcessPool as error:
            raise LesionError(
                f"a process was killed while {description}",
                wanted="memory for each of the processes (some 200 MB)",
                mend="give the same command again: it goes on; fewer --workers need less memory",
            ) from error
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def _start_worker() -> None:
    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends the rest
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent is gone, even if that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
