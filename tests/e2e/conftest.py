"""A whole `lesion run` on phantoms with networks of a few thousand weights, made once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

TINY = [
    "--preset=demo",
    "--workers=0",
    "--device=cpu",
    "--resamples=50",
    "--tiles=6",
    "--segmentation.encoder=tu-test_resnet",
    "--segmentation.encoder-weights=none",
    "--segmentation.arch-options={decoder_channels: [16, 8, 8, 8]}",
    "--segmentation.size=64",
    "--segmentation.epochs=1",
    "--classification.encoder=test_resnet",
    "--classification.encoder-weights=none",
    "--classification.size=48",
    "--classification.epochs=1",
]
COUNT = 72


@dataclass(frozen=True)
class TinyRun:
    """A finished run.

    Attributes
    ----------
    folder, root : Path
        The run, and the phantoms that it learnt from.
    flags : list of str
        What `lesion run` was given.
    """

    folder: Path
    root: Path
    flags: list[str]


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of some phantoms, with a test list of the first patients beside it."""
    from lesioncore.phantoms.archive import make_phantom_archive

    root = tmp_path_factory.mktemp("archive") / "phantoms"
    make_phantom_archive(root, COUNT, 0, 64, prevalence=0.4)
    table = pd.read_csv(root / "metadata.csv")
    held = table["patient_id"].isin(table["patient_id"].unique()[:6])
    (root.parent / "test.txt").write_text("\n".join(table.loc[held, "image_id"]))
    return root


def run_flags(root: Path, out: Path) -> list[str]:
    """Return the flags of a tiny run of the phantoms in `root`."""
    return [
        "--dataset=phantom", f"--root={root}", f"--n={COUNT}", f"--out={out}",
        f"--test-list={root.parent / 'test.txt'}", *TINY,
    ]  # fmt: skip


@pytest.fixture(scope="session")
def tiny_run(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A finished tiny run; tests must not change it."""
    from pipelines.commands import main

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    flags = run_flags(phantoms, folder)
    assert main(["run", *flags]) == 0
    return TinyRun(folder, phantoms, flags)
