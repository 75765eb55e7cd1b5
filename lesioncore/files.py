"""Files that are whole or absent: a temporary name in the same folder, then moved into place."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesioncore.errors import LesionError

if TYPE_CHECKING:
    import pandas as pd

PathLike = str | os.PathLike[str]


@contextlib.contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; move it into place if the block succeeds.

    The temporary file keeps the suffix of `path`, so that libraries that look at it behave.

    Raises
    ------
    LesionError
        The disk is full or the folder cannot be written; the old file, if any, is untouched.
    """
    target = Path(path)
    with writing_to(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:8]}{target.suffix}")
        try:
            yield temporary
            os.replace(temporary, target)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def writing_to(path: PathLike) -> Iterator[None]:
    """Turn a full disk, a quota or a read-only folder into an error that says so."""
    try:
        yield
    except OSError as error:
        folder = nearest_folder(path)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(folder).free
            raise LesionError(
                f"the disk is full: could not write {path} ({free / 2**20:.1f} MiB free)",
                wanted="room for the file; everything finished before it is kept",
                mend="free space or choose another --out, then give the same command again",
            ) from error
        if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOENT):
            raise LesionError(
                f"cannot write {path}: {error.strerror} ({error.filename2 or error.filename})",
                wanted="a place where no other file or folder is in the way",
                mend="choose another --out",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise LesionError(
                f"cannot write {path}: {error.strerror}",
                wanted=f"a folder this user may write to (now: {folder})",
                mend="choose another --out, or change the permissions of the folder",
            ) from error
        raise


def nearest_folder(path: PathLike) -> Path:
    """Return the closest existing folder at or above `path`."""
    folder = Path(path).absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


def write_text(path: PathLike, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: PathLike, data: bytes) -> None:
    """Write `data`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: PathLike, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=_plain) + "\n")


def read_json(path: PathLike) -> Any:
    """Return the JSON in `path`; a missing or broken file is a `LesionError` naming it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LesionError(f"no such file: {path}") from error
    except (OSError, ValueError) as error:
        raise LesionError(f"cannot read {path} as JSON: {error}") from error


def write_table(path: PathLike, frame: pd.DataFrame) -> None:
    """Write a table as Parquet or CSV, by the suffix of `path`."""
    suffix = Path(path).suffix.lower()
    with atomic_path(path) as temporary:
        if suffix == ".parquet":
            frame.to_parquet(temporary, index=False)
        elif suffix == ".csv":
            frame.to_csv(temporary, index=False)
        else:
            raise LesionError(f"cannot write a table as {suffix!r}", wanted=".parquet or .csv")


def read_table(path: PathLike, **options: Any) -> pd.DataFrame:
    """Return the table in a Parquet or CSV file; a bad file is a `LesionError` naming it."""
    import pandas as pd

    source = Path(path)
    if not source.is_file():
        raise LesionError(f"no such file: {source}", wanted="a .csv or .parquet table")
    try:
        if source.suffix.lower() == ".parquet":
            return pd.read_parquet(source, **options)
        return pd.read_csv(source, low_memory=False, **options)
    except Exception as error:  # parser errors of pandas and pyarrow have no common base
        raise LesionError(
            f"cannot read the table {source}: {error}",
            wanted="a .parquet file, or a .csv in UTF-8 with commas and a line of column names",
        ) from error


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: PathLike) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of `value` as canonical JSON (sorted keys), 64 hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)
    return sha256_bytes(text.encode())


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
