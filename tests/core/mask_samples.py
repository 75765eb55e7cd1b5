"""Masks for the tests of the mask cache: smooth blobs, a few bytes each."""

from __future__ import annotations

import numpy as np

from lesioncore.cache import MaskEntry, MaskRow

FINGERPRINT = {
    "segmenter": {"arch": "unet", "weights_sha256": ["a" * 64, "b" * 64]},
    "preprocessing": {"size": [32, 32], "interpolation": "area"},
    "postprocessing": {"threshold": 0.5, "largest_component": True},
    "algorithm_versions": {"preprocessing": 1, "postprocessing": 1},
}


def soft_payload(seed: int, size: tuple[int, int] = (32, 32)) -> np.ndarray:
    """Return `(h, w) uint8`: one soft blob."""
    rng = np.random.default_rng(seed)
    h, w = size
    y, x = np.mgrid[:h, :w].astype(float)
    radius = np.hypot((y - h * rng.uniform(0.4, 0.6)) / h, (x - w * rng.uniform(0.4, 0.6)) / w)
    z = (rng.uniform(0.15, 0.3) - radius) * 30 + rng.normal(0, 0.3, size)
    return np.round(255 / (1 + np.exp(-z))).astype(np.uint8)


def sha(number: int) -> str:
    return f"{number + 1:064x}"


def entry(number: int, **changes: object) -> MaskEntry:
    fields: dict[str, object] = {
        "image_id": f"ISIC_{number:07d}",
        "image_sha256": sha(number),
        "shape": (45 + number % 3, 60),
        "payload": soft_payload(number),
        "threshold": 0.5,
        "score": 0.5 + 0.01 * (number % 50),
        "member": str(number % 2),
        "in_sample": number % 5 == 0,
    }
    return MaskEntry.from_soft(**{**fields, **changes})  # type: ignore[arg-type]


def assert_same(found: MaskEntry, wanted: MaskEntry, *, but: tuple[str, ...] = ()) -> None:
    for name in MaskEntry.__dataclass_fields__:
        if name not in but:
            a, b = getattr(found, name), getattr(wanted, name)
            assert np.array_equal(a, b), f"{name}: {a} is not {b}"


def row_names() -> list[str]:
    return list(MaskRow.__dataclass_fields__)
