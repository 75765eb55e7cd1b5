"""False alarms of `lesion audit` on real dermoscopy, and copies that it misses.

    python benchmarks/audit_real.py [--data DIR] [--n 2000]

Of HAM10000 and ISIC 2018 task 1 evenly spaced images are searched for faces (there are none) and
for near copies. Then copies of some of the images are made, at another size, quality, crop, light
or position, and looked for among all.
"""

from __future__ import annotations

import argparse
import datetime
import os
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import numpy as np
import pandas as pd
from page import write_section

from lesioncore.config import DataOptions
from lesioncore.duplicates import grey_copy
from lesioncore.hamming import MOST_BITS, bits_apart
from lesioncore.images import read_image
from lesioncore.likeness import ALIKE, LIKENESS_SIZE, likeness
from lesioncore.picture_hash import both_hashes, turned, turned_hashes
from lesioncore.picture_search import BITS_TURNED, FINE_BITS
from lesioncore.readers import load_manifest
from pipelines.audit.copies import find_copies
from pipelines.audit.looks import look_at_images

SETS = {"ham10000": "ham10000_200x150", "isic-task1": "isic2018_task1_512"}


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def scaled(image: np.ndarray, factor: float) -> np.ndarray:
    size = (max(8, round(image.shape[1] * factor)), max(8, round(image.shape[0] * factor)))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=how))


def cropped(image: np.ndarray, part: float) -> np.ndarray:
    y, x = (max(1, round(part * side)) for side in image.shape[:2])
    return np.ascontiguousarray(image[y:-y, x:-x])


CHANGES = {
    "JPEG quality 30": (lambda image: jpeg(image, 30), 0),
    "JPEG quality 10": (lambda image: jpeg(image, 10), 0),
    "half the size, quality 60": (lambda image: jpeg(scaled(image, 0.5), 60), 0),
    "shorter side 64 px, quality 75": (
        lambda image: jpeg(scaled(image, 64 / min(image.shape[:2])), 75), 0,
    ),
    "twice the size, quality 80": (lambda image: jpeg(scaled(image, 2), 80), 0),
    "darker, less contrast": (
        lambda image: np.clip(image * 0.85 + 10, 0, 255).astype(np.uint8), 0,
    ),
    "2 % of each border cut off": (lambda image: cropped(image, 0.02), 0),
    "mirrored, quality 75": (lambda image: jpeg(np.ascontiguousarray(image[:, ::-1]), 75), 2),
    "turned by 90 degrees, quality 75": (
        lambda image: jpeg(np.ascontiguousarray(np.rot90(image)), 75), 5,
    ),
}  # fmt: skip


def is_found(image: np.ndarray, copy: np.ndarray, turn: int) -> bool:
    """Whether the copy would be found beside the image: by its hash, and by the second look."""
    ours, theirs = both_hashes(image)[0][None], both_hashes(copy)[0][None]
    asked = turned_hashes(ours, turn)
    apart = [int(bits_apart(asked[:, word], theirs[:, word])[0]) for word in range(3)]
    if apart[0] > (BITS_TURNED if turn else MOST_BITS) or apart[1] + apart[2] > FINE_BITS:
        return False
    a, b = (grey_copy(one, LIKENESS_SIZE) for one in (image, copy))
    return likeness(turned(a, turn), b) >= ALIKE


def pairs_across(manifest: pd.DataFrame, pairs: np.ndarray) -> list[tuple[str, str]]:
    """Return the pairs that are not known to be of one lesion."""
    lesions = manifest["lesion_id"].to_numpy(object)
    ids = manifest["image_id"].to_numpy(object)
    same = [isinstance(lesions[a], str) and lesions[a] == lesions[b] for a, b in pairs]
    return [(ids[a], ids[b]) for (a, b), one in zip(pairs, same, strict=True) if not one]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("LESION_DATA"))
    parser.add_argument("--n", type=int, default=2000, help="images of each archive")
    parser.add_argument("--changed", type=int, default=200, help="images that copies are made of")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/audit_real"))
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    if given.data is None:
        parser.error("say where the archives are: --data DIR, or set LESION_DATA")
    head = f"Measured {datetime.date.today()} by `python benchmarks/audit_real.py --n {given.n}`."
    table = [
        "| archive | images | called faces | near copies, of one lesion | of several | compared |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    images: list[str] = []
    named = []
    for name, folder in SETS.items():
        options = DataOptions(dataset=name, root=Path(given.data) / folder, limit=given.n)
        manifest = load_manifest(options)
        looks = look_at_images(manifest, given.out / name, workers=given.workers)
        copies = find_copies(manifest, looks, workers=given.workers)
        faces = looks.loc[looks["faces"] != "[]", "image_id"].tolist()
        across = pairs_across(manifest, copies.pairs)
        table.append(
            f"| `{name}` | {len(manifest):,} | {len(faces)} | {len(copies.pairs) - len(across)} | "
            f"{len(across)} | {copies.candidates:,} |"
        )
        named += [f"{a} and {b}" for a, b in across] + [f"{one} (face)" for one in faces]
        step = max(1, 2 * len(manifest) // given.changed)
        images += manifest["image"].iloc[::step].tolist()
    rows = ["| copy | found |", "| --- | ---: |"]
    for what, (change, turn) in CHANGES.items():
        found = 0
        for path in images:
            image = read_image(path)
            found += is_found(image, np.ascontiguousarray(change(image)), turn)
        rows.append(f"| {what} | {found} of {len(images)} |")
    told = f"Pairs of several lesions (or of unknown ones): {'; '.join(named) or 'none'}."
    text = "\n".join([head, "", *table, "", told, "", *rows])
    print(text)
    write_section("audit_real", text)


if __name__ == "__main__":
    main()
