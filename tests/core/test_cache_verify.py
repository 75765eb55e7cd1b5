"""Verifying and merging: damage is named, and several caches become one without losing a row."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from lesioncore.cache import (
    MaskCache,
    MaskCacheWriter,
    MaskEntry,
    add_edit,
    merge_caches,
    verify_cache,
)
from lesioncore.cache.shards import ShardFile
from lesioncore.errors import LesionError
from lesioncore.files import read_json, sha256_file, write_json
from tests.core.mask_samples import FINGERPRINT, assert_same, entry


def write(folder: Path, numbers: range, *, writer: str = "0", **changes: object) -> Path:
    with MaskCacheWriter(folder, FINGERPRINT, shard_size=4, writer=writer) as cache:
        for number in numbers:
            cache.add(entry(number, **changes))
        cache.complete()
    return folder


def payload_place(path: Path, row: int) -> int:
    with h5py.File(path, "r") as file:
        start = file["mask/data"].id.get_offset()
        return int(start + file["mask/offset"][row])


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.write_bytes(bytes(data))


# --- verify ------------------------------------------------------------------------------------


def test_a_sound_cache_has_no_problems(tmp_path):
    assert verify_cache(write(tmp_path, range(9))) == []
    assert verify_cache(tmp_path, quick=True) == []


def test_a_flipped_bit_in_a_mask_names_the_image_and_reading_it_fails(tmp_path):
    write(tmp_path, range(9))
    shard = tmp_path / "shard-00001-0.h5"
    flip(shard, payload_place(shard, 2) + 10)
    for quick in (False, True):
        problems = verify_cache(tmp_path, quick=quick)
        assert len(problems) == 2
        assert problems[0] == "shard-00001-0.h5 has other bytes than when it was written (SHA-256)"
        assert "shard-00001-0.h5: 'ISIC_0000006'" in problems[1]
    cache = MaskCache(tmp_path)
    with pytest.raises(LesionError, match=r"shard-00001-0\.h5.*'ISIC_0000006'.*has changed"):
        cache.read("ISIC_0000006")
    assert_same(cache.read("ISIC_0000005"), entry(5))  # its neighbours are still good


def test_a_flipped_bit_outside_the_masks_is_named_too(tmp_path):
    write(tmp_path, range(3))
    shard = tmp_path / "shard-00000-0.h5"
    with h5py.File(shard, "r") as file:
        place = file["score"].id.get_offset()
    flip(shard, place)
    assert verify_cache(tmp_path) == [
        "shard-00000-0.h5 has other bytes than when it was written (SHA-256)"
    ]


@pytest.mark.parametrize("seed", range(6))
def test_any_damage_to_a_shard_is_found_and_never_a_crash(tmp_path, seed):
    write(tmp_path, range(4))
    shard = tmp_path / "shard-00000-0.h5"
    rng = np.random.default_rng(seed)
    for at in rng.integers(0, shard.stat().st_size, 40):
        flip(shard, int(at))
    assert any("shard-00000-0.h5" in problem for problem in verify_cache(tmp_path))
    try:
        cache = MaskCache(tmp_path)
        for image_id in cache.ids():
            cache.read(image_id)
    except LesionError:
        pass


def test_a_shortened_lost_or_foreign_shard_is_named(tmp_path):
    write(tmp_path, range(12))
    short = tmp_path / "shard-00000-0.h5"
    short.write_bytes(short.read_bytes()[:2000])
    (tmp_path / "shard-00001-0.h5").unlink()
    shutil.copy(tmp_path / "shard-00002-0.h5", tmp_path / "shard-00009-0.h5")
    problems = "\n".join(verify_cache(tmp_path))
    assert "shard-00001-0.h5 is missing" in problems
    assert "shard-00000-0.h5 has 2000 bytes" in problems
    assert "shard-00009-0.h5 is not in index.json" in problems
    with pytest.raises(LesionError, match="damaged"):
        MaskCacheWriter(tmp_path, FINGERPRINT)


def test_an_unfinished_cache_says_how_far_it_is(tmp_path):
    with MaskCacheWriter(tmp_path, FINGERPRINT, shard_size=4) as writer:
        for number in range(6):
            writer.add(entry(number))
        (problem,) = verify_cache(tmp_path)
    assert "not complete: 4 masks in 1 shards and 2 in journal.bin" in problem


def test_a_row_that_lies_about_its_mask_is_named(tmp_path):
    import dataclasses

    lying = dataclasses.replace(entry(0), area=3, box=(0, 0, 1, 1))
    empty = dataclasses.replace(entry(1), status="empty")
    odd = dataclasses.replace(entry(2), status="fine")  # type: ignore[arg-type]
    mute = dataclasses.replace(
        MaskEntry.failed(image_id="x", image_sha256="", reason="r"), reason=""
    )
    with MaskCacheWriter(tmp_path, FINGERPRINT) as writer:
        for made in (lying, empty, odd, mute):
            writer.add(made)
        writer.complete()
    problems = verify_cache(tmp_path)
    assert f"'ISIC_0000000': area is 3, the mask has {entry(0).area} pixels" in problems[0]
    assert f"box is (0, 0, 1, 1), the mask spans {entry(0).box}" in problems[1]
    assert "status is 'empty'" in problems[2]
    assert "unknown status 'fine'" in problems[3]
    assert "failed without a reason" in problems[4]
    assert verify_cache(tmp_path, quick=True) == []


def test_damaged_edits_are_named(tmp_path):
    write(tmp_path, range(3))
    add_edit(tmp_path, "ISIC_0000001", ~entry(1).mask(), author="Kim")
    edits = tmp_path / "edits-00000-Kim.h5"
    flip(edits, payload_place(edits, 0) + 5)
    (problem,) = verify_cache(tmp_path)
    assert "edits-00000-Kim.h5: 'ISIC_0000001'" in problem
    edits.write_bytes(b"not HDF5")
    (problem,) = verify_cache(tmp_path)
    assert "edits-00000-Kim.h5" in problem


# --- merge -------------------------------------------------------------------------------------


def test_parts_of_several_processes_become_one_cache(tmp_path):
    parts = [
        write(tmp_path / f"part-{n}", range(n * 7, n * 7 + 7), writer=f"gpu{n}") for n in range(3)
    ]
    merged = merge_caches(parts, tmp_path / "all")
    assert merged.complete
    assert merged.ids() == [f"ISIC_{n:07d}" for n in range(21)]
    for number in range(21):
        assert_same(merged.read(f"ISIC_{number:07d}"), entry(number))
    assert merged.counts == {"ok": 21}
    assert verify_cache(tmp_path / "all") == []
    assert sorted(p.name for p in (tmp_path / "all").glob("*.h5"))[:2] == [
        "shard-00000-gpu0.h5", "shard-00001-gpu0.h5",
    ]  # fmt: skip
    with MaskCacheWriter(tmp_path / "all", FINGERPRINT) as writer:  # and it can be gone on with
        assert len(writer.finished) == 21


def test_equal_masks_in_two_sources_are_kept_once(tmp_path):
    a, b = write(tmp_path / "a", range(6)), write(tmp_path / "b", range(3, 9))
    merged = merge_caches([a, b], tmp_path / "all")
    assert merged.ids() == [f"ISIC_{n:07d}" for n in range(9)]
    assert sum(file.rows for file in merged.files) == 9
    for number in range(9):
        assert_same(merged.read(f"ISIC_{number:07d}"), entry(number))
    assert verify_cache(tmp_path / "all") == []


def test_different_masks_of_one_image_are_a_conflict_and_named(tmp_path):
    a = write(tmp_path / "a", range(6))
    b = write(tmp_path / "b", range(4, 8), payload=entry(0).payload)
    with pytest.raises(LesionError) as caught:
        merge_caches([a, b], tmp_path / "all")
    message = str(caught.value)
    assert "2 images have different masks" in message
    assert "ISIC_0000004 differs in " in message
    assert "payload" in message
    assert str(a) in message
    assert str(b) in message
    assert not (tmp_path / "all").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_mask_is_taken_over_a_failure_whichever_comes_first(tmp_path):
    for name, made in (("failed", None), ("made", entry(1))):
        with MaskCacheWriter(tmp_path / name, FINGERPRINT) as writer:
            lost = MaskEntry.failed(
                image_id="ISIC_0000001", image_sha256=entry(1).image_sha256, reason="out of memory"
            )
            writer.add(made or lost)
            writer.complete()
    for number, order in enumerate((("failed", "made"), ("made", "failed"))):
        merged = merge_caches([tmp_path / n for n in order], tmp_path / f"all{number}")
        assert_same(merged.read("ISIC_0000001"), entry(1))
        assert len(merged) == 1


def test_rows_made_again_are_left_behind_and_edits_come_along(tmp_path):
    a = write(tmp_path / "a", range(5))
    with MaskCacheWriter(a, FINGERPRINT) as writer:
        writer.add(entry(2, image_sha256="e" * 64))
        writer.complete()
    b = write(tmp_path / "b", range(5, 9))
    drawn = ~entry(6).mask()
    add_edit(b, "ISIC_0000006", drawn, author="Kim")
    add_edit(a, "ISIC_0000001", ~entry(1).mask(), author="Kim")
    merged = merge_caches([a, b], tmp_path / "all")
    assert len(merged) == 9
    assert merged.row("ISIC_0000002").image_sha256 == "e" * 64
    assert np.array_equal(merged.read("ISIC_0000006").mask(), drawn)
    assert merged.counts == {"ok": 7, "edited": 2}
    assert sum(f.rows for f in merged.files if f.path.name.startswith("shard-")) == 9


def test_edits_that_contradict_each_other_are_named(tmp_path):
    a = write(tmp_path / "a", range(3))
    b = shutil.copytree(a, tmp_path / "b")
    add_edit(a, "ISIC_0000001", ~entry(1).mask(), author="Kim")
    shutil.copy(next(a.glob("edits-*")), b)
    assert len(merge_caches([a, b], tmp_path / "same")) == 3  # the same file twice is one edit
    add_edit(a, "ISIC_0000002", ~entry(2).mask(), author="Kim")
    add_edit(b, "ISIC_0000002", entry(2).mask() * 0, author="Lee")
    with pytest.raises(LesionError, match=r"ISIC_0000002 was edited differently \(revision 1\)"):
        merge_caches([a, b], tmp_path / "all")


def add_unknown(shard: Path) -> None:
    with h5py.File(shard, "r+") as file:
        rows = file["image_id"].shape[0]
        file["hair_fraction"] = np.arange(rows, dtype=np.float32)
        file.create_dataset(
            "remark", data=[f"r{n}" for n in range(rows)], dtype=h5py.string_dtype()
        )
        file.create_dataset("packed", data=np.arange(rows), chunks=(2,), compression="gzip")
        file["extra/deep"] = np.arange(5)
        file.attrs["made_by"] = "someone else"


def test_a_damaged_shard_is_not_merged(tmp_path):
    # A mask that is damaged on disk would be listed as whole, under a checksum made anew.
    good, bad = write(tmp_path / "good", range(3)), write(tmp_path / "bad", range(3, 6))
    shard = next(bad.glob("shard-*.h5"))
    flip(shard, payload_place(shard, 1) + 10)
    with pytest.raises(LesionError, match=rf"{shard.name}: it has other bytes"):
        merge_caches([good, bad], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_a_broken_index_says_how_to_make_it_anew(tmp_path):
    folder = write(tmp_path / "cache", range(3))
    (folder / "index.json").write_text("{")
    for use in (MaskCache, verify_cache, lambda f: MaskCacheWriter(f, FINGERPRINT)):
        with pytest.raises(LesionError, match=r"(?s)index\.json.*to mend: rm .*shard-"):
            use(folder)


def test_columns_that_we_do_not_know_come_along_when_rows_are_left_behind(tmp_path):
    a = write(tmp_path / "a", range(4))
    with MaskCacheWriter(a, FINGERPRINT) as writer:
        writer.add(entry(1, image_sha256="e" * 64))
        writer.complete()
    add_unknown(a / "shard-00000-0.h5")
    # As a later version would have written it: the index knows its bytes.
    index = read_json(a / "index.json")
    index["shards"][0]["sha256"] = sha256_file(a / "shard-00000-0.h5")
    write_json(a / "index.json", index)
    merged = merge_caches([a, write(tmp_path / "b", range(8, 10))], tmp_path / "all")
    assert len(merged) == 6
    with h5py.File(tmp_path / "all" / "shard-00000-0.h5") as file:
        assert file["hair_fraction"][:].tolist() == [0, 2, 3]
        assert file["remark"].asstr()[:].tolist() == ["r0", "r2", "r3"]
        assert file["packed"][:].tolist() == [0, 2, 3]
        assert file["extra/deep"][:].tolist() == [0, 1, 2, 3, 4]
        assert file.attrs["made_by"] == "someone else"
    assert_same(merged.read("ISIC_0000003"), entry(3))
    assert ShardFile(tmp_path / "all" / "shard-00000-0.h5").unknown == [
        "extra", "hair_fraction", "packed", "remark",
    ]  # fmt: skip


def test_what_cannot_be_merged_is_refused(tmp_path):
    a = write(tmp_path / "a", range(3))
    with pytest.raises(LesionError, match="nothing to merge"):
        merge_caches([], tmp_path / "all")
    with pytest.raises(LesionError, match="named twice"):
        merge_caches([a, tmp_path / "a"], tmp_path / "all")
    with pytest.raises(LesionError, match="is in use"):
        merge_caches([a], a)
    other = tmp_path / "other"
    MaskCacheWriter(other, {**FINGERPRINT, "preprocessing": {"size": [64, 64]}}).close()
    with pytest.raises(LesionError, match=r"preprocessing\.size is \[64, 64\] in the cache"):
        merge_caches([a, other], tmp_path / "all")
    binary = tmp_path / "binary"
    MaskCacheWriter(binary, FINGERPRINT, "bin1").close()
    with pytest.raises(LesionError, match="holds bin1 masks"):
        merge_caches([a, binary], tmp_path / "all")
    with MaskCacheWriter(tmp_path / "open", FINGERPRINT) as writer:
        writer.add(entry(9))
        with pytest.raises(LesionError, match=r"holds 1 masks in journal\.bin"):
            merge_caches([a, tmp_path / "open"], tmp_path / "all")
    merged = merge_caches([a, tmp_path / "open"], tmp_path / "all")
    assert not merged.complete  # as one source is not
