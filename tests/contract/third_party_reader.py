"""A reader of the mask cache written from docs/reference/mask-cache.md alone: none of our code.

It reads what the format promises with NumPy, h5py and zlib, and stands in the tests so that the
page stays enough to build one from.
"""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def read_masks(folder: Path) -> dict[str, dict[str, Any]]:
    """Return image id to its row, with `soft (H, W) uint8` and `mask (H, W) bool`."""
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    assert index["format"] == "lesion mask cache" and index["schema_version"] == 1
    best: dict[str, dict[str, Any]] = {}
    edits: list[dict[str, Any]] = []
    for shard in index["shards"]:
        for row in read_file(folder / shard["name"]):
            best[row["image_id"]] = row
    for path in sorted(folder.glob("edits-*.h5")):
        edits += read_file(path)
    for row in sorted(edits, key=lambda row: row["revision"]):
        model = best.get(row["image_id"])
        known = model is not None and any(model["image_sha256"]) and any(row["image_sha256"])
        if not known or np.array_equal(model["image_sha256"], row["image_sha256"]):
            best[row["image_id"]] = row
    return {image_id: with_mask(row) for image_id, row in best.items()}


def read_file(path: Path) -> list[dict[str, Any]]:
    with h5py.File(path, "r") as file:
        names = [n for n in file if isinstance(file[n], h5py.Dataset) and n != "reasons"]
        columns = {name: file[name][:] for name in names}
        reasons = [text.decode() for text in file["reasons"][:]]
        offset, data = file["mask/offset"][:], file["mask/data"][:]
        rows = []
        for at in range(len(columns["image_id"])):
            row = {name: values[at] for name, values in columns.items()}
            for name in ("image_id", "member", "status", "encoding"):
                row[name] = row[name].decode()
            row["reason"] = reasons[row["reason"]]
            stored = data[offset[at] : offset[at + 1]].tobytes()
            assert zlib.crc32(stored) == file["mask/checksum"][at]
            row["payload"] = unpack(stored, row["payload_shape"], row["encoding"])
            rows.append(row)
    return rows


def unpack(stored: bytes, shape: Any, encoding: str) -> np.ndarray:
    h, w = int(shape[0]), int(shape[1])
    out = np.zeros((h, w), np.uint8)
    if h * w == 0:
        return out
    raw = zlib.decompress(stored)
    if encoding == "bin1":
        stride = (w + 7) // 8
        for y in range(h):
            for x in range(w):
                out[y, x] = 255 * (raw[y * stride + x // 8] >> (7 - x % 8) & 1)
        return out
    for y in range(h):
        for x in range(w):
            left = int(out[y, x - 1]) if x else 0
            up = int(out[y - 1, x]) if y else 0
            corner = int(out[y - 1, x - 1]) if x and y else 0
            out[y, x] = (raw[y * w + x] + left + up - corner) % 256
    return out


def with_mask(row: dict[str, Any]) -> dict[str, Any]:
    height, width = (int(v) for v in row["shape"])
    soft = np.zeros((height, width), np.uint8)
    payload = row["payload"]
    if payload.size:
        h, w = payload.shape
        (sx, _, tx), (_, sy, ty) = row["transform"]
        x0, y0 = round(tx + 0.5 - 0.5 * sx), round(ty + 0.5 - 0.5 * sy)
        x1, y1 = x0 + round(sx * w), y0 + round(sy * h)
        part = payload if (y1 - y0, x1 - x0) == (h, w) else resize(payload, y1 - y0, x1 - x0)
        for y in range(max(0, y0), min(height, y1)):
            for x in range(max(0, x0), min(width, x1)):
                soft[y, x] = part[y - y0, x - x0]
    level = min(255, max(1, math.ceil(255 * float(row["threshold"]) - 1e-6)))
    return {**row, "soft": soft, "mask": soft >= level}


def resize(payload: np.ndarray, height: int, width: int) -> np.ndarray:
    h, w = payload.shape
    across = np.zeros((h, width), np.int64)
    for x, (left, right, weight) in enumerate(weights(width, w)):
        across[:, x] = (256 - weight) * payload[:, left].astype(np.int64)
        across[:, x] += weight * payload[:, right].astype(np.int64)
    out = np.zeros((height, width), np.uint8)
    for y, (top, bottom, weight) in enumerate(weights(height, h)):
        out[y] = ((256 - weight) * across[top] + weight * across[bottom] + 32768) >> 16
    return out


def weights(size_out: int, size_in: int) -> list[tuple[int, int, int]]:
    found = []
    for at in range(size_out):
        position = (at + 0.5) * (1.0 / (size_out / size_in)) - 0.5
        first = math.floor(position)
        if first < 0:
            found.append((0, 0, 0))
        elif first >= size_in - 1:
            found.append((size_in - 1, size_in - 1, 0))
        else:
            found.append((first, first + 1, round((position - first) * 256)))
    return found
