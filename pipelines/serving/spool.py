"""Batch jobs on disk: a folder each, whole or absent, so that a killed server loses none.

SPOOL/lock               held by the server that uses the folder
SPOOL/JOB/job.json       when it came, how many images, the ids that the client gave them
SPOOL/JOB/0007.image     an image without its metadata; gone once it has a result
SPOOL/JOB/0007.json      age, sex and site; gone with the image
SPOOL/JOB/0007.tries     how often the work on it was begun
SPOOL/JOB/0007.result    what came of it (JSON)
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lesioncore.errors import LesionError
from lesioncore.files import read_json, write_bytes, write_json, write_text, writing_to
from lesioncore.progress import log

RECORD = "job.json"
#: Work on an image that was begun so often and never ended ended the server.
MAX_TRIES = 3
_PART = ".part"


@dataclass
class SpooledJob:
    """A job that was taken on.

    Attributes
    ----------
    name : str
        Not to be guessed: who knows it may read the results.
    created : float
        Seconds since 1970, UTC.
    ids : list of str or None
        One an image: what the client calls it.
    status : dict of int to str
        Of each image that has a result.
    finished : float or None
        When the last of them had one.
    """

    name: str
    created: float
    ids: list[str | None]
    status: dict[int, str] = field(default_factory=dict)
    finished: float | None = None

    @property
    def waiting(self) -> list[int]:
        """The images without a result."""
        return [index for index in range(len(self.ids)) if index not in self.status]

    def counts(self) -> dict[str, int]:
        """Return how many images have each status."""
        found = Counter(self.status.values())
        left = len(self.ids) - len(self.status)
        return {**({"waiting": left} if left else {}), **found}


class Spool:
    """The folder of jobs of one server.

    Parameters
    ----------
    folder : Path
        Made when missing, for this user alone.

    Raises
    ------
    LesionError
        Another server uses it, or it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with writing_to(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise LesionError(
                f"another server uses the spool {folder}",
                wanted="a folder for each server",
                mend="--spool ANOTHER, or --no-spool",
            ) from None

    def close(self) -> None:
        """Let another server use the folder."""
        os.close(self._lock)

    def jobs(self) -> list[SpooledJob]:
        """Return the jobs that are there, oldest first; what was never taken on is removed."""
        found = []
        for home in self.folder.iterdir():
            if not home.is_dir():
                continue
            if home.name.endswith(_PART) or not (home / RECORD).is_file():
                shutil.rmtree(home, ignore_errors=True)
                continue
            try:
                found.append(self._read(home))
            except (LesionError, KeyError, TypeError, ValueError) as error:
                log.warning("a batch job in the spool cannot be read: %s", type(error).__name__)
        return sorted(found, key=lambda job: job.created)

    def _read(self, home: Path) -> SpooledJob:
        record = read_json(home / RECORD)
        job = SpooledJob(home.name, float(record["created"]), list(record["ids"]))
        last = job.created
        for path in sorted(home.glob("*.result")):
            job.status[int(path.stem)] = str(read_json(path)["status"])
            last = max(last, path.stat().st_mtime)
        if not job.waiting:
            job.finished = last
        return job

    def add(
        self, images: list[bytes], metadata: list[dict[str, Any]], ids: list[str | None]
    ) -> SpooledJob:
        """Write a job; when this returns it survives the end of the server.

        Raises
        ------
        LesionError
            It cannot be written.
        """
        job = SpooledJob(secrets.token_urlsafe(18), time.time(), ids)
        part, home = self.folder / (job.name + _PART), self.folder / job.name
        try:
            with writing_to(part):
                part.mkdir(mode=0o700)
            for index, (data, known) in enumerate(zip(images, metadata, strict=True)):
                write_bytes(part / f"{index:04d}.image", data)
                write_json(part / f"{index:04d}.json", known)
            write_json(part / RECORD, {"created": job.created, "ids": ids})
            with writing_to(home):
                part.rename(home)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        return job

    def begin(self, job: SpooledJob, index: int) -> tuple[bytes, dict[str, Any]]:
        """Return an image and its metadata, and count the try.

        Raises
        ------
        LesionError
            The image is gone, or the server ended `MAX_TRIES` times over it.
        """
        stem = self.folder / job.name / f"{index:04d}"
        try:
            data = stem.with_suffix(".image").read_bytes()
        except OSError as error:
            raise LesionError(f"the image cannot be read again: {error.strerror}") from error
        known = dict(read_json(stem.with_suffix(".json")))
        counter = stem.with_suffix(".tries")
        tries = int(counter.read_text()) if counter.is_file() else 0
        if tries >= MAX_TRIES:
            raise LesionError(f"the server ended {tries} times while it worked on this image")
        write_text(counter, str(tries + 1))
        return data, known

    def put_back(self, job: SpooledJob, index: int) -> None:
        """Forget a try: the server ends in good order before the work is done."""
        (self.folder / job.name / f"{index:04d}.tries").unlink(missing_ok=True)

    def finish(self, job: SpooledJob, index: int, result: dict[str, Any]) -> None:
        """Write the result of an image, then delete the image."""
        stem = self.folder / job.name / f"{index:04d}"
        write_json(stem.with_suffix(".result"), result)
        for suffix in (".image", ".json", ".tries"):
            stem.with_suffix(suffix).unlink(missing_ok=True)
        job.status[index] = str(result["status"])
        if not job.waiting:
            job.finished = time.time()

    def results(self, job: SpooledJob) -> dict[int, dict[str, Any]]:
        """Return the results that are there, by the place of the image."""
        home = self.folder / job.name
        return {index: read_json(home / f"{index:04d}.result") for index in sorted(job.status)}

    def remove(self, job: SpooledJob) -> None:
        """Delete everything of a job."""
        home = self.folder / job.name
        shutil.rmtree(home, ignore_errors=True)
        if home.exists():
            log.warning("a batch job could not be removed from the spool")
