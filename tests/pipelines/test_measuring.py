"""`lesion cache measure`: every mask once, again after an edit, failures named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesioncore.cache import MaskCache, MaskCacheWriter, MaskEntry, add_edit
from lesioncore.cache.measured import FILE, read_measurements
from lesioncore.images import image_sha256, read_mask
from lesioncore.phantoms import make_phantom_archive
from lesioncore.readers import create_reader
from pipelines.cache_admin import cache_facts
from pipelines.commands import main

COUNT = 8


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    make_phantom_archive(tmp_path / "archive", n=COUNT, seed=5, size=64)
    return tmp_path / "archive"


@pytest.fixture
def manifest(archive: Path) -> pd.DataFrame:
    return create_reader("phantom", archive).read()


@pytest.fixture
def cache(manifest: pd.DataFrame, tmp_path: Path) -> Path:
    """True masks of the archive; the last but one is empty, the last failed."""
    folder = tmp_path / "cache"
    with MaskCacheWriter(folder, {"segmenter": {"arch": "truth"}}, "bin1") as writer:
        for number, row in enumerate(manifest.itertuples()):
            facts = {"image_id": str(row.image_id), "image_sha256": image_sha256(str(row.image))}
            mask = read_mask(str(row.mask))
            if number == COUNT - 2:
                mask = np.zeros_like(mask)
            if number == COUNT - 1:
                writer.add(MaskEntry.failed(**facts, reason="no memory"))
            else:
                writer.add(MaskEntry.from_mask(**facts, mask=mask, member="truth", in_sample=False))
        writer.complete()
    return folder


def call(cache: Path, archive: Path, *more: str) -> int:
    return main(
        ["cache", "measure", "--masks", str(cache), "--dataset", "phantom", "--root", str(archive),
         "--workers", "0", *more]
    )  # fmt: skip


def test_every_mask_is_measured_and_none_twice(cache, archive, manifest, monkeypatch, capsys):
    assert call(cache, archive) == 0
    table = read_measurements(cache).set_index("image_id")
    assert len(table) == COUNT
    assert table["status"].value_counts().to_dict() == {"ok": COUNT - 2, "empty": 1, "failed": 1}
    masks = MaskCache(cache)
    for image_id in manifest["image_id"].head(COUNT - 2):
        assert table.loc[image_id, "area_px"] == masks.row(image_id).area
    assert table["mm_per_pixel"].isna().all()
    assert table.loc[manifest["image_id"].iloc[-1], "area_px"] != 0

    def refuse(*_: object) -> None:
        raise AssertionError("measured twice")

    monkeypatch.setattr("pipelines.measuring.measure", refuse)
    before = (cache / FILE).read_bytes()
    assert call(cache, archive) == 0
    assert (cache / FILE).read_bytes() == before
    assert cache_facts(cache)["measured"] == {"masks": COUNT, "stale": 0}
    assert main(["cache", "info", str(cache)]) == 0
    assert f"measured     {COUNT} masks" in capsys.readouterr().out


def test_an_edited_mask_alone_is_measured_again(cache, archive, manifest, monkeypatch):
    assert call(cache, archive) == 0
    image_id = str(manifest["image_id"].iloc[2])
    add_edit(cache, image_id, np.ones((64, 64), bool), author="Kim")
    seen = []

    def count(image, mask, scale):
        from lesioncore.measurements import measure

        seen.append(int(mask.sum()))
        return measure(image, mask, scale)

    monkeypatch.setattr("pipelines.measuring.measure", count)
    assert call(cache, archive) == 0
    assert seen == [64 * 64]
    row = read_measurements(cache).set_index("image_id").loc[image_id]
    assert (row["revision"], row["status"], row["area_px"]) == (1, "edited", 64 * 64)


def test_what_was_measured_before_an_interrupt_is_kept(cache, archive, monkeypatch):
    calls = []

    def interrupt(image, mask, scale):
        from lesioncore.measurements import measure

        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return measure(image, mask, scale)

    monkeypatch.setattr("pipelines.measuring._BATCH", 2)
    monkeypatch.setattr("pipelines.measuring.measure", interrupt)
    assert call(cache, archive) != 0
    assert len(read_measurements(cache)) == 2
    monkeypatch.undo()
    assert call(cache, archive) == 0
    assert len(read_measurements(cache)) == COUNT


def test_a_missing_or_changed_picture_is_named_and_counted(cache, archive, manifest, caplog):
    Path(manifest["image"].iloc[0]).unlink()
    Path(manifest["image"].iloc[1]).write_bytes(Path(manifest["image"].iloc[2]).read_bytes())
    with caplog.at_level("INFO", logger="lesion"):
        code = call(cache, archive)
    assert code == 1
    assert "has changed since" in caplog.text
    assert len(read_measurements(cache)) == COUNT - 2
    assert call(cache, archive, "--max-failed", "2") == 0


def test_a_cache_of_another_archive_is_refused(cache, tmp_path, caplog):
    other = tmp_path / "other"
    (other / "images").mkdir(parents=True)
    from lesioncore.images import write_mask

    write_mask(other / "images" / "STRANGE.png", np.ones((8, 8), bool))
    code = main(["cache", "measure", "--masks", str(cache), "--dataset", "folder",
                 "--root", str(other)])  # fmt: skip
    assert code == 1
