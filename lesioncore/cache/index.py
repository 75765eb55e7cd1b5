"""`index.json`, and the names of the files beside it."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lesioncore.cache.fingerprint import fingerprint_sha256, plain
from lesioncore.cache.shards import FORMAT, SCHEMA_VERSION, ShardFile
from lesioncore.errors import LesionError, refuse_newer
from lesioncore.files import read_json, write_json

INDEX = "index.json"
_SHARD = re.compile(r"shard-(\d{5,})-[\w.-]+\.h5")
_EDITS = re.compile(r"edits-(\d{5,})-[\w.-]+\.h5")


def shard_files(folder: Path) -> list[Path]:
    """Return the shards in `folder`, oldest first."""
    return _numbered(folder, _SHARD)


def edits_files(folder: Path) -> list[Path]:
    """Return the edits files in `folder`, oldest first."""
    return _numbered(folder, _EDITS)


def next_name(kind: str, existing: list[Path], suffix: str) -> str:
    """Return the next file name of a kind (`shard` or `edits`): number, then who wrote it."""
    number = max((int(path.name.split("-")[1]) for path in existing), default=-1) + 1
    return f"{kind}-{number:05d}-{suffix}.h5"


def _numbered(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    found = [path for path in folder.iterdir() if pattern.fullmatch(path.name)]
    return sorted(found, key=lambda path: (int(path.name.split("-")[1]), path.name))


def read_index(folder: Path) -> dict[str, Any]:
    """Return `index.json`, checked for its format and version."""
    path = folder / INDEX
    if not path.is_file():
        raise LesionError(
            f"no mask cache in {folder}" + ("" if folder.is_dir() else " (no such folder)"),
            wanted=f"a folder with {INDEX}",
            mend="make one with `segstage cache --out DIR`, or import masks with "
            "`segstage import-masks`",
        )
    anew = f"rm {path} {folder}/shard-*.h5, then the `segstage cache` command; edits are kept"
    try:
        index = read_json(path)
    except LesionError as error:
        raise LesionError(error.found, wanted="the index of a mask cache", mend=anew) from error
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise LesionError(f"{path} is not the index of a mask cache", mend=anew)
    refuse_newer(
        f"the mask cache {folder} has schema version",
        index.get("schema_version", 0),
        SCHEMA_VERSION,
    )
    return index


def write_index(
    folder: Path,
    *,
    fingerprint: Mapping[str, Any],
    encoding: str,
    shards: list[dict[str, Any]],
    counts: Mapping[str, int],
    complete: bool,
    quality_models: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write `index.json`, whole or not at all.

    `quality_models` says which models judged the masks; it is recorded and decides nothing.
    """
    write_json(
        folder / INDEX,
        {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "tool_version": tool_version(),
            "fingerprint": plain(fingerprint),
            "fingerprint_sha256": fingerprint_sha256(fingerprint),
            "encoding": encoding,
            "shards": shards,
            "counts": dict(counts),
            "quality_models": [plain(model) for model in quality_models],
            "complete": complete,
        },
    )


def quality_models(indexes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the models that judged the masks of several caches, each once."""
    models: list[dict[str, Any]] = []
    for index in indexes:
        models += [one for one in index.get("quality_models", []) if one not in models]
    return models


def describe_shard(file: ShardFile, sha256: str) -> dict[str, Any]:
    """Return what the index says of a shard: name, rows, bytes, SHA-256, rows by status."""
    values, numbers = np.unique(file.column("status"), return_counts=True)
    return {
        "name": file.path.name,
        "rows": file.rows,
        "bytes": file.path.stat().st_size,
        "sha256": sha256,
        "counts": {v.decode(): int(n) for v, n in zip(values, numbers, strict=True)},
    }


def tool_version() -> str:
    """Return the installed version of this tool: recorded, never compared."""
    try:
        return importlib.metadata.version("lesion-pipeline")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
