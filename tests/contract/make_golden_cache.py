"""Made the golden cache of schema version 1, once: `python -m tests.contract.make_golden_cache`.

The files are a promise to every cache that people have on their disks. They are not made again
when a test fails; a new schema version gets a folder of its own beside this one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lesioncore import geometry
from lesioncore.cache import Edit, MaskCache, MaskCacheWriter, MaskEntry, add_edits
from lesioncore.cache.index import INDEX, describe_shard
from lesioncore.cache.shards import ShardFile
from lesioncore.files import sha256_file, write_json

GOLDEN = Path(__file__).parent / "golden_cache_v1"
FINGERPRINT = {
    "segmenter": {"arch": "unet", "weights_sha256": ["0" * 63 + "1", "0" * 63 + "2"]},
    "preprocessing": {"size": [24, 32], "interpolation": "area"},
    "postprocessing": {"threshold": 0.4, "largest_component": True, "fill_holes": True},
    "algorithm_versions": {"preprocessing": 1, "postprocessing": 1},
}


def soft(seed: int, h: int, w: int, radius: float = 0.3) -> np.ndarray:
    y, x = np.mgrid[:h, :w]
    rng = np.random.default_rng(seed)
    z = (radius - np.hypot((y + 0.5) / h - 0.5, (x + 0.5) / w - 0.45)) * 25
    return np.round(255 / (1 + np.exp(-(z + rng.normal(0, 0.2, (h, w)))))).astype(np.uint8)


def soft_entry(number: int, shape: tuple[int, int], payload: np.ndarray, **more: Any) -> MaskEntry:
    return MaskEntry.from_soft(
        image_id=f"GOLD_{number}", image_sha256=f"{number + 16:064x}", shape=shape,
        payload=payload, threshold=0.4, score=0.5 + number / 16, member=str(number % 2),
        in_sample=number % 2 == 1, **more,
    )  # fmt: skip


def binary_entry(image_id: str, mask: np.ndarray, **more: Any) -> MaskEntry:
    return MaskEntry.from_mask(image_id=image_id, image_sha256="ab" * 32, mask=mask, **more)


def entries() -> list[list[MaskEntry]]:
    crop = geometry.box_matrix((16, 16), (-3, 20, 29, 52))
    y, x = np.mgrid[:37, :53]
    return [
        [  # soft masks: full frame, with and without quality, upscaled, downscaled, of a crop
            soft_entry(0, (45, 60), soft(0, 24, 32)),
            soft_entry(1, (45, 61), soft(1, 24, 32), quality=0.875, disagreement=0.0625),
            soft_entry(2, (13, 17), soft(2, 24, 32)),
            soft_entry(3, (45, 60), soft(3, 16, 16), transform=crop),
            soft_entry(4, (24, 32), soft(4, 24, 32)),  # at the original size
        ],
        [  # binary masks, an empty and a failed one, an id that is not ASCII
            binary_entry("병변 5", np.hypot(y - 18, x - 25) < 12, member="truth", in_sample=False),
            soft_entry(6, (45, 60), soft(6, 24, 32)).binary(),
            soft_entry(7, (45, 60), np.full((24, 32), 101, np.uint8)),  # one below 0.4: empty
            MaskEntry.failed(image_id="GOLD_8", image_sha256="", reason="corrupt JPEG: cut short"),
            binary_entry("GOLD_9", np.eye(9, 11) > 0, member="import", in_sample=False),
        ],
    ]


def add_columns_of_others(path: Path) -> None:
    """Add what a later version might: columns of any layout, a group, an attribute."""
    with h5py.File(path, "r+") as file:
        rows = file["image_id"].shape[0]
        file["hair_fraction"] = np.linspace(0, 1, rows, dtype="<f4")
        names = [f"remark {n}" for n in range(rows)]
        file.create_dataset("remark", data=names, dtype=h5py.string_dtype())
        file.create_dataset("packed", data=np.arange(rows), chunks=(2,), compression="gzip")
        file["later/things"] = np.arange(3)
        file.attrs["made_by"] = "a later version"


def drop_columns(path: Path) -> None:
    """Take out the columns that an earlier writer may not have computed: they read as null."""
    with h5py.File(path, "r+") as file:
        for name in ("quality", "disagreement", "score", "in_sample"):
            del file[name]


def plain_row(entry: MaskEntry) -> dict[str, Any]:
    values = {name: getattr(entry, name) for name in MaskEntry.__dataclass_fields__}
    del values["payload"]
    values["transform"] = values["transform"].tolist()
    if values["score"] != values["score"]:
        values["score"] = None
    return values


def main() -> int:
    if GOLDEN.exists():
        print(f"{GOLDEN} is there already, and stays as it is", file=sys.stderr)
        return 1
    cache = GOLDEN / "cache"
    with MaskCacheWriter(cache, FINGERPRINT, shard_size=100, writer="gold") as writer:
        for part in entries():
            for entry in part:
                writer.add(entry)
            writer.flush()
        writer.complete()
    shards = sorted(cache.glob("shard-*.h5"))
    add_columns_of_others(shards[0])
    drop_columns(shards[1])
    index = json.loads((cache / INDEX).read_text())
    index["shards"] = [describe_shard(ShardFile(path), sha256_file(path)) for path in shards]
    write_json(cache / INDEX, index)
    y, x = np.mgrid[:45, :60]
    drawn = np.abs(y - 20) + np.abs(x - 30) < 15
    add_edits(
        cache,
        [
            Edit(image_id="GOLD_0", mask=~drawn, author="Kim", note="first"),
            Edit(image_id="GOLD_0", mask=drawn, author="Kim", note="second thoughts"),
            Edit(image_id="GOLD_7", mask=drawn, author="Lee"),
        ],
    )
    reader = MaskCache(cache)
    arrays = {}
    rows = []
    for number, image_id in enumerate(reader.ids()):
        entry = reader.read(image_id)
        rows.append(plain_row(entry))
        arrays[f"payload_{number}"] = entry.payload
        arrays[f"soft_{number}"] = entry.soft()
        arrays[f"mask_{number}"] = np.packbits(entry.mask())
    write_json(GOLDEN / "expected_rows.json", rows)
    np.savez_compressed(GOLDEN / "expected_arrays.npz", **arrays)
    return 0


if __name__ == "__main__":
    sys.exit(main())
