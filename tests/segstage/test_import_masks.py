"""Masks that people drew come back exactly, and win."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from lesioncore.cache import MaskCache
from lesioncore.images import read_mask, write_mask
from segstage.commands import main
from segstage.config import TrainConfig


def words(root: Path, out: Path, *more: str) -> list[str]:
    return ["import-masks", "--dataset", "phantom", "--root", str(root), "--out", str(out), *more]


def test_the_truth_of_an_archive_as_a_cache(
    archive: Path, manifest: pd.DataFrame, tmp_path: Path
) -> None:
    assert main(words(archive, tmp_path / "cache")) == 0
    masks = MaskCache(tmp_path / "cache")
    assert masks.complete
    assert len(masks) == len(manifest)
    for row in manifest.itertuples():
        entry = masks.read(row.image_id)
        assert np.array_equal(entry.mask(), read_mask(row.mask))
        assert (entry.member, entry.in_sample, entry.encoding) == ("truth", False, "bin1")
    before = masks.snapshot
    assert main(words(archive, tmp_path / "cache")) == 0
    assert MaskCache(tmp_path / "cache").snapshot == before


def test_masks_for_a_segmenters_cache_become_edits_that_win(
    run: TrainConfig, archive: Path, manifest: pd.DataFrame, tmp_path: Path
) -> None:
    out, drawn = tmp_path / "cache", tmp_path / "drawn"
    segment = ["cache", "--weights", str(run.out), "--dataset", "phantom", "--root", str(archive)]
    segment += ["--out", str(out), "--limit", "10", "--device", "cpu", "--workers", "0"]
    assert main(segment) == 0
    image_id = MaskCache(out).ids()[0]
    mask = np.zeros((96, 96), bool)
    mask[10:30, 20:50] = True
    write_mask(drawn / f"{image_id}_segmentation.png", mask)
    assert main(words(archive, out, "--masks", str(drawn), "--author", "kim")) == 0
    entry = MaskCache(out).read(image_id)
    assert (entry.status, entry.revision) == ("edited", 1)
    assert np.array_equal(entry.mask(), mask)
    # The same again changes nothing; the segmenter's next run does not undo it.
    assert main(words(archive, out, "--masks", str(drawn), "--author", "kim")) == 0
    assert MaskCache(out).row(image_id).revision == 1
    assert main(segment) == 0
    assert np.array_equal(MaskCache(out).read(image_id).mask(), mask)


def test_a_folder_of_masks_by_any_of_their_names(
    archive: Path, manifest: pd.DataFrame, tmp_path: Path
) -> None:
    drawn = tmp_path / "drawn"
    ids = manifest["image_id"].tolist()
    for image_id, ending in zip(ids, ("_segmentation", "_mask", ""), strict=False):
        write_mask(drawn / f"{image_id}{ending}.png", np.eye(96, dtype=bool))
    assert main(words(archive, tmp_path / "cache", "--masks", str(drawn))) == 0
    masks = MaskCache(tmp_path / "cache")
    assert set(masks.ids()) == set(ids[:3])
    assert masks.read(ids[0]).member == "import"


def test_a_mask_of_another_size_fails_alone(
    archive: Path, manifest: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    drawn = tmp_path / "drawn"
    first, second = manifest["image_id"].iloc[:2]
    write_mask(drawn / f"{first}.png", np.ones((20, 30), bool))
    write_mask(drawn / f"{second}.png", np.ones((96, 96), bool))
    assert main(words(archive, tmp_path / "cache", "--masks", str(drawn))) == 1
    assert "30 x 20" in caplog.text
    masks = MaskCache(tmp_path / "cache")
    assert masks.row(first).status == "failed"
    assert masks.row(second).status == "ok"


@pytest.mark.parametrize("case", ["no folder", "no masks", "strangers", "two of one"])
def test_masks_that_cannot_be_meant(
    archive: Path, manifest: pd.DataFrame, tmp_path: Path, case: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    drawn = tmp_path / "drawn"
    if case != "no folder":
        drawn.mkdir()
    if case == "strangers":
        cv2.imwrite(str(drawn / "someone.png"), np.zeros((4, 4), np.uint8))
    if case == "two of one":
        cv2.imwrite(str(drawn / f"{manifest['image_id'].iloc[0]}.png"), np.zeros((4, 4), np.uint8))
        cv2.imwrite(str(drawn / f"{manifest['image_id'].iloc[0]}_mask.png"), np.zeros((4, 4)))
    message = {
        "no folder": "no such folder",
        "no masks": "no masks in",
        "strangers": "none of the 1 masks",
        "two of one": "two masks of",
    }[case]
    assert main(words(archive, tmp_path / "cache", "--masks", str(drawn))) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()
