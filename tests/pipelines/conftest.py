"""A run's folder as it is after prediction, made without training."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesioncore.cache import MaskCacheWriter, MaskEntry
from lesioncore.config import DataOptions
from lesioncore.images import image_sha256, read_mask
from lesioncore.splits import assign_groups, make_split, write_split
from pipelines.datasets import RunData, load_run_data
from pipelines.run_steps import RunPaths
from pipelines.steps import Ledger

COUNT = 96


@dataclasses.dataclass(frozen=True)
class FakeRun:
    """A run whose masks are the truth shifted by two pixels, and whose probabilities are drawn."""

    paths: RunPaths
    data: RunData
    root: Path


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of some phantoms."""
    from lesioncore.phantoms.archive import make_phantom_archive

    root = tmp_path_factory.mktemp("archive") / "phantoms"
    make_phantom_archive(root, COUNT, 0, 64)
    return root


def held_back(root: Path) -> Path:
    """Write a test list of the first patients: by chance the hash rule takes none of so few."""
    table = pd.read_csv(root / "metadata.csv")
    first = table["patient_id"].unique()[:14]
    path = root.parent / "test-list.txt"
    path.write_text("\n".join(table.loc[table["patient_id"].isin(first), "image_id"]))
    return path


@pytest.fixture(scope="session")
def fake_run(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> FakeRun:
    """See `FakeRun`."""
    paths = RunPaths(tmp_path_factory.mktemp("runs") / "fake")
    options = DataOptions(dataset="phantom", root=phantoms, n=COUNT)
    data = load_run_data(options, seed=0, policy="auto", test_list=str(held_back(phantoms)))
    manifest = data.manifest
    write_cache(paths.cache, manifest)
    split = make_split(
        manifest, folds=1, seed=0, labels=data.labels, test_ids=data.test,
        groups=assign_groups(manifest),
    )  # fmt: skip
    paths.classification.mkdir(parents=True)
    write_split(paths.classification / "split.csv", split)
    write_curves(paths)
    rng = np.random.default_rng(0)
    held = manifest[manifest["image_id"].isin(data.test)]
    label = data.labels[manifest["image_id"].isin(data.test)]
    chance = np.clip(0.3 + 0.3 * np.nan_to_num(label) + rng.normal(0, 0.15, len(held)), 0, 1)
    pd.DataFrame(
        {
            "image_id": held["image_id"],
            "malignant": chance,
            "mask_status": "ok",
            "focus": "dilated_crop+soft_background",
            "model": "fake",
        }
    ).to_csv(paths.predictions, index=False)
    paths.config.write_text(
        f"dataset: phantom\nroot: {phantoms}\nlimit: null\nseed: 0\n"
        "segmentation:\n  size: 64\n  folds: 2\nclassification:\n  focus: dilated_crop\n"
    )
    for number, name in enumerate(("segment", "cache", "classify"), start=1):
        Ledger(paths.folder).write(
            name, number=number, inputs={}, result=f"{name}/", seconds=61.0 * number, complete=True
        )
    return FakeRun(paths, data, phantoms)


def write_cache(folder: Path, manifest: pd.DataFrame) -> None:
    """Cache the true masks shifted by two pixels; the first is empty, the second failed."""
    with MaskCacheWriter(folder, {"segmenter": {"weights_sha256": ["fake"]}}) as writer:
        for number, row in enumerate(manifest.itertuples()):
            digest = image_sha256(row.image)
            truth = read_mask(row.mask)
            if number == 1:
                entry = MaskEntry.failed(
                    image_id=row.image_id, image_sha256=digest, reason="a test", shape=truth.shape
                )
            else:
                mask = np.zeros_like(truth) if number == 0 else np.roll(truth, 2, axis=1)
                entry = MaskEntry.from_mask(
                    image_id=row.image_id, image_sha256=digest, mask=mask,
                    score=0.5 + number / 1000, member="0", in_sample=False,
                )  # fmt: skip
            writer.add(entry)
        writer.complete()


def write_curves(paths: RunPaths) -> None:
    """Write the metrics tables that the report draws its learning curves from."""
    for stage, name, members in ((paths.segmentation, "dice", 2), (paths.classification, "auc", 1)):
        for member in range(members):
            folder = stage / f"member-{member}"
            folder.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(
                {"epoch": [1, 2], "train_loss": [0.5, 0.4], f"val_{name}": [0.7, 0.8]}
            ).to_csv(folder / "metrics.csv", index=False)
