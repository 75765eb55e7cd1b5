"""What made the masks: a nested dict of plain values, compared field by field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lesioncore.errors import LesionError
from lesioncore.files import sha256_json

Fingerprint = Mapping[str, Any]


def plain(fingerprint: Fingerprint) -> dict[str, Any]:
    """Return a fingerprint as JSON would give it back: lists for tuples, text for paths."""
    result: dict[str, Any] = json.loads(json.dumps(fingerprint, default=_plain, sort_keys=True))
    return result


def fingerprint_sha256(fingerprint: Fingerprint) -> str:
    """Return the SHA-256 of a fingerprint, 64 hex digits, whatever the order of its keys."""
    return sha256_json(plain(fingerprint))


def fingerprint_differences(found: Fingerprint, wanted: Fingerprint) -> list[str]:
    """Return one line a field that differs: its dotted name and both values."""
    return list(_differences("", plain(found), plain(wanted)))


def check_fingerprint(found: Fingerprint, wanted: Fingerprint, folder: Path | str) -> None:
    """Refuse a cache that something else made, naming the fields that differ."""
    differences = fingerprint_differences(found, wanted)
    if differences:
        raise LesionError(
            f"the mask cache {folder} was made by something else: " + "; ".join(differences),
            wanted="a cache with the fingerprint of this segmenter and its settings",
            mend="choose another --out, or the settings of the cache; to make its masks anew "
            f"and keep what people edited: rm {folder}/index.json {folder}/shard-*.h5",
        )


def _differences(prefix: str, found: Any, wanted: Any) -> list[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        lines = []
        for key in sorted({*found, *wanted}):
            name = f"{prefix}.{key}" if prefix else key
            if key not in found:
                lines.append(f"{name} is not in the cache, {_short(wanted[key])} now")
            elif key not in wanted:
                lines.append(f"{name} is {_short(found[key])} in the cache, absent now")
            else:
                lines.extend(_differences(name, found[key], wanted[key]))
        return lines
    if found == wanted:
        return []
    return [f"{prefix} is {_short(found)} in the cache, {_short(wanted)} now"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 160 else text[:157] + "..."


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
