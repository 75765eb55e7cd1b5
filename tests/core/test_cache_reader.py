"""Reading: look-ups, workers, snapshots, and edits that win."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lesioncore.cache import Edit, MaskCache, MaskCacheWriter, add_edit, add_edits, verify_cache
from lesioncore.cache import edits as edits_module
from lesioncore.cache import lookup as lookups
from lesioncore.cache import shards as shards_module
from lesioncore.cache.columns import id_hash
from lesioncore.errors import LesionError
from tests.core.mask_samples import FINGERPRINT, assert_same, entry, sha


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with MaskCacheWriter(tmp_path, FINGERPRINT, shard_size=4) as writer:
        for number in range(10):
            quality = {"quality": 0.75, "disagreement": 0.1} if number == 3 else {}
            writer.add(entry(number, **quality))
        writer.complete()
    return tmp_path


def test_a_look_up_needs_twelve_bytes_a_mask(folder):
    assert MaskCache(folder).nbytes == 12 * 10


def test_membership_order_and_rows(folder):
    cache = MaskCache(folder)
    assert cache.ids() == [f"ISIC_{n:07d}" for n in range(10)]
    assert "ISIC_0000004" in cache
    assert "ISIC_0000099" not in cache
    assert 4 not in cache
    row = cache.row("ISIC_0000003")
    assert (row.quality, row.disagreement) == (0.75, 0.1)
    assert cache.row("ISIC_0000004").quality is None
    assert not hasattr(row, "payload")


def test_an_image_without_a_mask_is_named(folder):
    with pytest.raises(LesionError, match=r"no mask of the image 'ISIC_99'"):
        MaskCache(folder).read("ISIC_99")


def test_the_table_has_every_row_and_no_pixels(folder):
    table = MaskCache(folder).table()
    assert list(table["image_id"]) == [f"ISIC_{n:07d}" for n in range(10)]
    assert list(table["image_sha256"]) == [sha(n) for n in range(10)]
    assert table["quality"].notna().sum() == 1
    assert table["in_sample"].dtype == bool
    assert table.loc[2, ["height", "width"]].tolist() == list(entry(2).shape)
    assert table.loc[2, ["y0", "x0", "y1", "x1"]].tolist() == list(entry(2).box)
    assert table.loc[2, "area"] == entry(2).area
    assert set(table["status"]) == {"ok"}


def test_the_table_of_an_empty_cache_has_its_columns(tmp_path):
    MaskCacheWriter(tmp_path, FINGERPRINT).close()
    cache = MaskCache(tmp_path)
    assert len(cache) == 0
    assert "image_id" in cache.table().columns
    assert cache.counts == {}
    assert cache.ids() == []


def test_ids_in_any_script_are_kept(tmp_path):
    names = ["병변 1", "naïve", "a/b\\c", "x" * 300, " "]
    with MaskCacheWriter(tmp_path, FINGERPRINT) as writer:
        for name in names:
            writer.add(entry(0, image_id=name))
        writer.complete()
    assert MaskCache(tmp_path).ids() == names
    assert MaskCache(tmp_path).read("병변 1").image_id == "병변 1"


def test_two_ids_with_one_hash_are_told_apart(tmp_path, monkeypatch):
    for module in (lookups, shards_module.columns):
        monkeypatch.setattr(module, "id_hash", lambda _id: 7)
    with MaskCacheWriter(tmp_path, FINGERPRINT, shard_size=3) as writer:
        for number in range(7):
            writer.add(entry(number))
        writer.add(entry(2, image_sha256="e" * 64))
    cache = MaskCache(tmp_path)
    assert len(cache) == 7
    assert_same(cache.read("ISIC_0000006"), entry(6))
    assert cache.row("ISIC_0000002").image_sha256 == "e" * 64
    assert "ISIC_0000007" not in cache


def test_the_hash_of_an_id_is_the_documented_one():
    import hashlib

    digest = hashlib.sha256(b"ISIC_0000001").digest()
    assert id_hash("ISIC_0000001") == int.from_bytes(digest[:8], "little")


def read_area(job: tuple[MaskCache, str]) -> int:
    return int(job[0].read(job[1]).mask().sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_read_the_same_masks(folder, method):
    cache = MaskCache(folder)
    wanted = [entry(n).area for n in range(10)]
    with multiprocessing.get_context(method).Pool(2) as pool:
        got = pool.map(read_area, [(cache, f"ISIC_{n:07d}") for n in range(10)])
    assert got == wanted


def test_a_forked_process_shares_the_open_files_safely(folder):
    cache = MaskCache(folder)
    ready, done = os.pipe()
    child = os.fork()
    if child == 0:
        good = all(cache.read(f"ISIC_{n % 10:07d}").area == entry(n % 10).area for n in range(50))
        os.write(done, b"1" if good else b"0")
        os._exit(0)
    for n in range(50):
        assert cache.read(f"ISIC_{n % 10:07d}").area == entry(n % 10).area
    assert os.read(ready, 1) == b"1"
    os.waitpid(child, 0)


def test_threads_read_the_same_masks(folder):
    cache = MaskCache(folder)
    numbers = [n % 10 for n in range(200)]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda n: cache.read(f"ISIC_{n:07d}").area, numbers))
    assert got == [entry(n).area for n in numbers]


def test_more_shards_than_a_process_may_open_are_read_all_the_same(folder, monkeypatch):
    monkeypatch.setattr(shards_module, "_HELD_FILES", 1)
    cache = MaskCache(folder)
    before = open_descriptors()
    for number in range(10):
        found = cache.read(f"ISIC_{number:07d}")
        assert_same(found, entry(number), but=("quality", "disagreement"))
    assert open_descriptors() == before


def open_descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def test_no_cache_a_foreign_folder_and_a_newer_version_are_refused(folder, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(LesionError, match="no mask cache in "):
        MaskCache(empty)
    with pytest.raises(LesionError, match="no such folder"):
        MaskCache(empty / "missing")
    (empty / "index.json").write_text("{}")
    with pytest.raises(LesionError, match="not the index of a mask cache"):
        MaskCache(empty)
    text = (folder / "index.json").read_text().replace('"schema_version": 1', '"schema_version": 2')
    (folder / "index.json").write_text(text)
    with pytest.raises(LesionError, match="schema version 2"):
        MaskCache(folder)


def test_a_lost_shard_of_a_complete_cache_is_noticed_and_can_be_made_again(folder):
    (folder / "shard-00001-0.h5").unlink()
    with pytest.raises(LesionError, match=r"lacks shard-00001-0\.h5"):
        MaskCache(folder)
    with MaskCacheWriter(folder, FINGERPRINT, shard_size=4) as writer:
        todo = [n for n in range(10) if f"ISIC_{n:07d}" not in writer.finished]
        assert todo == [4, 5, 6, 7]
        for number in todo:
            writer.add(entry(number))
        writer.complete()
    assert len(MaskCache(folder)) == 10
    assert verify_cache(folder) == []


def test_a_shard_of_another_cache_is_noticed(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    with MaskCacheWriter(other, {"segmenter": "other"}) as writer:
        writer.add(entry(77))
    (folder / "shard-00002-0.h5").write_bytes((other / "shard-00000-0.h5").read_bytes())
    with pytest.raises(LesionError, match="belongs to another cache"):
        MaskCache(folder)


# --- edits ---------------------------------------------------------------------------------------


def drawn(number: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(entry(number).shape) > 0.5


def test_an_edit_wins_and_the_highest_revision_wins_over_it(folder):
    first = add_edit(folder, "ISIC_0000003", drawn(3, 1), author="Kim", note="hair left in")
    second = add_edit(folder, "ISIC_0000003", drawn(3, 2), author="Lee")
    assert (first.revision, second.revision) == (1, 2)
    found = MaskCache(folder).read("ISIC_0000003")
    assert np.array_equal(found.mask(), drawn(3, 2))
    assert (found.status, found.revision, found.member) == ("edited", 2, "edit")
    assert found.image_sha256 == sha(3)
    assert len(MaskCache(folder)) == 10
    assert MaskCache(folder).counts == {"ok": 9, "edited": 1}
    assert verify_cache(folder) == []


def test_an_edit_survives_a_run_that_makes_the_mask_again(folder):
    add_edit(folder, "ISIC_0000003", drawn(3), author="Kim")
    with MaskCacheWriter(folder, FINGERPRINT) as writer:
        assert writer.finished["ISIC_0000003"] == sha(3)
        writer.add(entry(3, score=0.99))
        writer.complete()
    assert np.array_equal(MaskCache(folder).read("ISIC_0000003").mask(), drawn(3))


def test_an_edit_of_other_image_bytes_does_not_count_for_the_new_picture(folder):
    add_edit(folder, "ISIC_0000003", drawn(3), author="Kim")
    with MaskCacheWriter(folder, FINGERPRINT) as writer:
        writer.add(entry(3, image_sha256="d" * 64))
        writer.complete()
    assert MaskCache(folder).row("ISIC_0000003").status == "ok"
    edited = add_edit(folder, "ISIC_0000003", drawn(3, 5), author="Kim")
    assert edited.revision == 2  # above the one that does not count: revisions never repeat
    assert np.array_equal(MaskCache(folder).read("ISIC_0000003").mask(), drawn(3, 5))


def test_an_edit_may_come_before_the_segmenter(folder):
    mask = np.ones((6, 8), bool)
    add_edit(folder, "new", mask, author="Kim", image_sha256=sha(50))
    cache = MaskCache(folder)
    assert cache.read("new").mask().all()
    with MaskCacheWriter(folder, FINGERPRINT) as writer:
        assert "new" not in writer.finished
        writer.add(entry(50, image_id="new", shape=(6, 8)))
    assert MaskCache(folder).row("new").status == "edited"


def test_an_edit_that_clears_a_mask_is_an_edit(folder):
    add_edit(folder, "ISIC_0000003", np.zeros(entry(3).shape, bool), author="Kim")
    found = MaskCache(folder).row("ISIC_0000003")
    assert (found.status, found.area, found.box) == ("edited", 0, (0, 0, 0, 0))
    assert verify_cache(folder) == []


def test_an_edit_of_another_size_or_without_a_cache_is_refused(folder, tmp_path_factory):
    with pytest.raises(LesionError, match=r"is 3 x 4(.|\n)*wanted: the size of its image, 45 x 60"):
        add_edit(folder, "ISIC_0000003", np.ones((3, 4), bool), author="Kim")
    with pytest.raises(LesionError, match=r"wanted: \(H, W\)"):
        add_edit(folder, "ISIC_0000003", np.ones((3, 4, 3), bool), author="Kim")
    with pytest.raises(LesionError, match="no mask cache"):
        add_edit(tmp_path_factory.mktemp("none"), "a", np.ones((3, 4), bool), author="Kim")


def test_many_edits_fill_files_and_keep_who_when_and_why(folder, monkeypatch):
    monkeypatch.setattr(edits_module, "EDITS_A_FILE", 3)
    batch = [
        Edit(image_id=f"ISIC_{n:07d}", mask=drawn(n), author="Kim / 병원", note=f"n{n}")
        for n in (0, 1, 2, 3, 0)
    ]
    rows = add_edits(folder, batch)
    assert [row.revision for row in rows] == [1, 1, 1, 1, 2]
    add_edit(folder, "ISIC_0000001", drawn(1, 9), author="Kim / 병원")
    add_edit(folder, "ISIC_0000001", drawn(1, 8), author="Lee")
    names = sorted(path.name for path in folder.glob("edits-*.h5"))
    assert names == ["edits-00000-Kim_병원.h5", "edits-00001-Kim_병원.h5", "edits-00002-Lee.h5"]
    notes = [note for name in names for note in edits_module.edit_notes(folder / name)]
    assert [note[:2] for note in notes[:3]] == [("Kim / 병원", f"n{n}") for n in range(3)]
    assert len(notes) == 7
    assert all(note[2] > 1_600_000_000 for note in notes)
    assert np.array_equal(MaskCache(folder).read("ISIC_0000001").mask(), drawn(1, 8))


def edit_from_process(job: tuple[Path, int]) -> int:
    return add_edit(job[0], "ISIC_0000001", drawn(1, job[1]), author=f"p{job[1] % 2}").revision


def test_people_who_edit_at_once_get_a_revision_each(folder):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        revisions = pool.map(edit_from_process, [(folder, n) for n in range(12)], chunksize=1)
    assert sorted(revisions) == list(range(1, 13))
    assert MaskCache(folder).row("ISIC_0000001").revision == 12


def test_edits_may_be_made_while_the_cache_is_being_written(folder):
    with MaskCacheWriter(folder, FINGERPRINT) as writer:
        writer.add(entry(20))
        add_edit(folder, "ISIC_0000001", drawn(1), author="Kim")
        writer.complete()
    assert MaskCache(folder).counts == {"ok": 10, "edited": 1}


def test_a_reader_is_a_snapshot_that_travels_to_workers(folder):
    add_edit(folder, "ISIC_0000001", drawn(1, 1), author="Kim")
    cache = MaskCache(folder)
    sent = pickle.dumps(cache)
    add_edit(folder, "ISIC_0000001", drawn(1, 2), author="Kim")  # grows the same file
    add_edit(folder, "ISIC_0000002", drawn(2, 2), author="Lee")
    for pinned in (cache, pickle.loads(sent)):
        assert np.array_equal(pinned.read("ISIC_0000001").mask(), drawn(1, 1))
        assert pinned.row("ISIC_0000002").status == "ok"
        assert pinned.snapshot == cache.snapshot
    now = MaskCache(folder)
    assert np.array_equal(now.read("ISIC_0000001").mask(), drawn(1, 2))
    assert now.snapshot != cache.snapshot
