"""One writer at a time: a lock that dies with its process and says whose it is."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
from pathlib import Path

from lesioncore.errors import LesionError

_log = logging.getLogger("lesion")
# POSIX locks do not hold off a second writer in the same process.
_held: set[str] = set()
_ONE_WRITER = (
    "one writer a folder; several processes write a folder each, and "
    "`lesion cache merge` joins them"
)


class FolderLock:
    """The right to write in a folder, held until `release` or the end of the process.

    The kernel frees a record lock (`lockf`) when its process dies, however it dies, and forked
    children do not inherit it: a loader worker that outlives a killed parent does not block the
    next run. Where the file system has no locks, the process id in the file decides.

    Parameters
    ----------
    path
        The lock file, in that folder.
    what
        What the folder holds, for the error.
    wanted
        What would have been right, for the error.

    Raises
    ------
    LesionError
        Another process, here or on another machine, writes in this folder.
    """

    def __init__(
        self, path: Path, *, what: str = "the mask cache", wanted: str = _ONE_WRITER
    ) -> None:
        self.path = path
        self._what, self._wanted = what, wanted
        self._name = str(path.resolve())
        self._owner = os.getpid()
        if self._name in _held:
            raise self._taken(f"this process ({os.getpid()})")
        self._descriptor = self._acquire()
        _held.add(self._name)

    def _acquire(self) -> int:
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                holder = _holder(descriptor)
                locked = _lock(descriptor)
                if locked is False:
                    raise self._taken(_words(holder))
                if not _same_file(descriptor, self.path):  # released and removed meanwhile
                    os.close(descriptor)
                    continue
                self._check_holder(holder, kernel_says_free=locked is True)
                note = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, note.encode(), 0)
                return descriptor
            except BaseException:
                os.close(descriptor)
                raise

    def _check_holder(self, holder: dict[str, object], *, kernel_says_free: bool) -> None:
        if not holder:
            return
        if holder.get("host") != socket.gethostname():
            # Locks of another machine may be invisible here, so ask a person.
            raise self._taken(_words(holder))
        if not kernel_says_free and _alive(int(str(holder.get("pid", 0)))):
            raise self._taken(_words(holder))
        _log.info("the writer before (%s) was killed; going on from what it left", _words(holder))

    def _taken(self, who: str) -> LesionError:
        return LesionError(
            f"{self._what} {self.path.parent} is being written by {who}",
            wanted=self._wanted,
            mend=f"wait for it or stop it; if it is gone for certain, delete {self.path}",
        )

    def release(self) -> None:
        """Give the lock back; in a forked child this does nothing."""
        if self._descriptor < 0 or os.getpid() != self._owner:
            return
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1
        _held.discard(self._name)


def _lock(descriptor: int) -> bool | None:
    """Return True: locked; False: another holds it; None: the file system has no locks."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        return None


def _holder(descriptor: int) -> dict[str, object]:
    try:
        note = json.loads(os.pread(descriptor, 4096, 0) or b"{}")
    except ValueError:  # killed while it wrote the note
        return {}
    return note if isinstance(note, dict) else {}


def _words(holder: dict[str, object]) -> str:
    if not holder:
        return "another process"
    return f"process {holder.get('pid')} on {holder.get('host')}"


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0
