"""Caches that people have on their disks read back bit for bit, whatever we change."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from lesioncore.cache import MaskCache, MaskCacheWriter, add_edit, merge_caches, verify_cache
from lesioncore.cache.edits import edit_notes
from tests.contract.make_golden_cache import FINGERPRINT, GOLDEN, entries
from tests.contract.third_party_reader import read_masks

ROWS = json.loads((GOLDEN / "expected_rows.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "expected_arrays.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def cache() -> MaskCache:
    return MaskCache(GOLDEN / "cache", fingerprint=FINGERPRINT)


def plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    return None if isinstance(value, float) and math.isnan(value) else value


@pytest.mark.parametrize("number", range(len(ROWS)), ids=[row["image_id"] for row in ROWS])
def test_every_golden_mask_reads_back_bit_for_bit(cache, arrays, number):
    wanted = ROWS[number]
    found = cache.read(wanted["image_id"])
    assert {name: plain(getattr(found, name)) for name in wanted} == wanted
    assert np.array_equal(found.payload, arrays[f"payload_{number}"])
    assert np.array_equal(found.soft(), arrays[f"soft_{number}"])
    assert np.array_equal(np.packbits(found.mask()), arrays[f"mask_{number}"])


def test_the_golden_cache_is_sound_and_complete(cache):
    assert verify_cache(GOLDEN / "cache") == []
    assert cache.complete
    assert cache.counts == {"ok": 7, "edited": 2, "failed": 1}
    assert len(cache) == 10


def test_the_golden_masks_are_those_that_went_in(cache):
    edited = {"GOLD_0", "GOLD_7"}
    for entry in (entry for part in entries() for entry in part):
        if entry.image_id not in edited:
            assert np.array_equal(cache.read(entry.image_id).payload, entry.payload)


def test_binary_masks_at_the_original_size_are_exact(cache):
    wanted = next(e for part in entries() for e in part if e.image_id == "병변 5")
    found = cache.read("병변 5")
    assert found.encoding == "bin1"
    assert found.payload_shape == found.shape == (37, 53)
    assert np.array_equal(found.mask(), wanted.payload > 0)


def test_columns_that_are_not_there_and_values_not_computed_are_null(cache):
    assert cache.row("GOLD_2").quality is None
    assert cache.row("GOLD_1").quality == 0.875
    row = cache.row("GOLD_9")  # its shard has neither quality, disagreement nor score
    assert row.quality is None
    assert row.disagreement is None
    assert math.isnan(row.score)
    table = cache.table().set_index("image_id")
    assert table["quality"].notna().to_dict() == {i: i == "GOLD_1" for i in table.index}
    assert math.isnan(table.loc["GOLD_9", "score"])


def test_the_highest_edit_wins_with_its_author_and_note(cache):
    y, x = np.mgrid[:45, :60]
    assert np.array_equal(cache.read("GOLD_0").mask(), np.abs(y - 20) + np.abs(x - 30) < 15)
    assert cache.row("GOLD_0").revision == 2
    notes = edit_notes(GOLDEN / "cache" / "edits-00000-Kim.h5")
    assert [note[:2] for note in notes] == [("Kim", "first"), ("Kim", "second thoughts")]


def test_going_on_editing_and_merging_leave_unknown_columns_alone(tmp_path):
    folder = Path(shutil.copytree(GOLDEN / "cache", tmp_path / "cache"))
    before = {path.name: path.read_bytes() for path in folder.glob("*.h5")}
    with MaskCacheWriter(folder, FINGERPRINT) as writer:
        assert len(writer.finished) == 10
        writer.add(entries()[0][2])  # made again: row 2 of the first shard is left behind
        writer.complete()
    add_edit(folder, "GOLD_4", np.ones((24, 32), bool), author="Park")
    for name, data in before.items():
        assert (folder / name).read_bytes() == data
    merged = merge_caches([folder], tmp_path / "merged")
    with h5py.File(merged.files[0].path) as file:
        assert file["hair_fraction"][:].tolist() == [0, 0.25, 0.75, 1]
        assert file["remark"].asstr()[:].tolist() == [f"remark {n}" for n in (0, 1, 3, 4)]
        assert file["packed"][:].tolist() == [0, 1, 3, 4]
        assert file["later/things"][:].tolist() == [0, 1, 2]
        assert file.attrs["made_by"] == "a later version"
    assert merged.row("GOLD_4").status == "edited"


def test_a_reader_written_from_the_page_alone_reads_the_golden_cache(cache):
    theirs = read_masks(GOLDEN / "cache")
    assert set(theirs) == set(cache.ids())
    for image_id, row in theirs.items():
        ours = cache.read(image_id)
        assert np.array_equal(row["payload"], ours.payload), image_id
        assert np.array_equal(row["soft"], ours.soft()), image_id
        assert np.array_equal(row["mask"], ours.mask()), image_id
        assert (row["status"], row["reason"], row["area"]) == (ours.status, ours.reason, ours.area)
        assert tuple(row["box"]) == ours.box


def test_a_reader_written_from_the_page_alone_reads_what_we_write_today(tmp_path):
    with MaskCacheWriter(tmp_path, FINGERPRINT, shard_size=3) as writer:
        for entry in (entry for part in entries() for entry in part):
            writer.add(entry)
        writer.complete()
    theirs = read_masks(tmp_path)
    for entry in (entry for part in entries() for entry in part):
        row = theirs[entry.image_id]
        assert np.array_equal(row["mask"], entry.mask())
        assert np.array_equal(row["soft"], entry.soft())
        assert bytes(row["image_sha256"]).hex() == (entry.image_sha256 or "0" * 64)
        assert (row["score"], row["threshold"]) == (entry.score, entry.threshold)
        assert row["in_sample"] == entry.in_sample
        assert math.isnan(row["quality"]) == (entry.quality is None)
        assert row["id_hash"] == np.uint64(int.from_bytes(_digest(entry.image_id), "little"))


def _digest(image_id: str) -> bytes:
    import hashlib

    return hashlib.sha256(image_id.encode()).digest()[:8]
