"""`index.json` of a crop cache, and what its fingerprint says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clsstage.crops.shards import FORMAT, SCHEMA_VERSION
from lesioncore.cache.fingerprint import fingerprint_differences, fingerprint_sha256, plain
from lesioncore.errors import LesionError, refuse_newer
from lesioncore.files import read_json, write_json
from lesioncore.runs import tool_version

INDEX = "index.json"


def read_index(folder: Path) -> dict[str, Any]:
    """Return the index of a crop cache, checked for its format and version."""
    path = folder / INDEX
    if not path.is_file():
        raise LesionError(
            f"no crops in {folder}" + ("" if folder.is_dir() else " (no such folder)"),
            wanted=f"a folder with {INDEX}",
            mend="clsstage train ... --crops DIR makes them",
        )
    index = read_json(path)
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise LesionError(f"{path} is not the index of a crop cache", mend="choose another folder")
    refuse_newer(
        f"the crops in {folder} have schema version", index.get("schema_version", 0), SCHEMA_VERSION
    )
    return index


def write_index(
    folder: Path,
    *,
    fingerprint: Mapping[str, Any],
    shards: list[dict[str, Any]],
    counts: Mapping[str, int],
    complete: bool,
) -> None:
    """Write the index, whole or not at all."""
    write_json(
        folder / INDEX,
        {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "tool_version": tool_version(),
            "fingerprint": plain(fingerprint),
            "fingerprint_sha256": fingerprint_sha256(fingerprint),
            "shards": shards,
            "counts": dict(counts),
            "complete": complete,
        },
    )


def check_fingerprint(found: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    """Refuse crops of other images, masks or frames, naming each field that differs."""
    differences = fingerprint_differences(found, wanted)
    if differences:
        raise LesionError(
            f"the crops in {folder} were made from something else: " + "; ".join(differences),
            wanted="crops of these images and masks, for this focus, jitter and size",
            mend=f"another --crops folder; or, to make these crops anew: rm -r {folder}",
        )
