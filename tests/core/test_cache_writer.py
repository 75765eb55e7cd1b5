"""Writing: resume, refusal, full disks, and `kill -9` at any moment lose no finished mask."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lesioncore.cache import MaskCache, MaskCacheWriter, MaskEntry, verify_cache
from lesioncore.cache import fingerprint as fingerprints
from lesioncore.cache import journal as journals
from lesioncore.cache import writer as writers
from lesioncore.errors import LesionError
from tests.conftest import ROOT
from tests.core.mask_samples import FINGERPRINT, assert_same, entry, sha


def write(folder: Path, numbers: range, **options: object) -> None:
    with MaskCacheWriter(folder, FINGERPRINT, shard_size=4, **options) as writer:  # type: ignore[arg-type]
        for number in numbers:
            writer.add(entry(number))
        writer.complete()


def test_what_is_written_is_what_is_read(tmp_path):
    write(tmp_path, range(11))
    cache = MaskCache(tmp_path)
    assert cache.complete
    assert len(cache) == 11
    for number in range(11):
        assert_same(cache.read(f"ISIC_{number:07d}"), entry(number))
    assert verify_cache(tmp_path) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "index.json", "shard-00000-0.h5", "shard-00001-0.h5", "shard-00002-0.h5",
    ]  # fmt: skip


def test_index_says_complete_only_at_the_end(tmp_path):
    writer = MaskCacheWriter(tmp_path, FINGERPRINT)
    assert json.loads((tmp_path / "index.json").read_text())["complete"] is False
    writer.add(entry(0))
    writer.close()
    assert not MaskCache(tmp_path).complete
    with MaskCacheWriter(tmp_path, FINGERPRINT) as writer:
        writer.complete()
        index = json.loads((tmp_path / "index.json").read_text())
    assert index["complete"] is True
    assert index["counts"] == {"ok": 1}
    assert index["schema_version"] == 1
    assert index["fingerprint"] == FINGERPRINT


def test_equal_masks_give_equal_bytes(tmp_path):
    for name in "ab":
        write(tmp_path / name, range(4))
    a, b = (tmp_path / name / "shard-00000-0.h5" for name in "ab")
    assert a.read_bytes() == b.read_bytes()


def test_a_second_run_finds_all_finished_and_leaves_the_cache_complete(tmp_path):
    write(tmp_path, range(6))
    with MaskCacheWriter(tmp_path, FINGERPRINT, shard_size=4) as writer:
        assert len(writer.finished) == 6
        assert dict(writer.finished) == {f"ISIC_{n:07d}": sha(n) for n in range(6)}
        assert "ISIC_0000009" not in writer.finished
        assert MaskCache(tmp_path).complete  # a kill here must not cost the complete mark
        writer.add(entry(6))
        assert not MaskCache(tmp_path).complete
        assert writer.finished["ISIC_0000006"] == sha(6)
        assert len(writer.finished) == 7


def test_a_changed_image_is_redone_and_its_new_mask_counts(tmp_path):
    write(tmp_path, range(6))
    changed = entry(2, image_sha256="f" * 64, payload=entry(3).payload)
    with MaskCacheWriter(tmp_path, FINGERPRINT, shard_size=4) as writer:
        assert writer.finished["ISIC_0000002"] != changed.image_sha256
        writer.add(changed)
        writer.add(entry(3, score=0.1))
        writer.add(entry(3, score=0.2))  # twice in one shard: the later one
        assert len(writer.finished) == 6
        writer.complete()
    cache = MaskCache(tmp_path)
    assert len(cache) == 6
    assert_same(cache.read("ISIC_0000002"), changed)
    assert cache.row("ISIC_0000003").score == 0.2
    with MaskCacheWriter(tmp_path, FINGERPRINT, shard_size=4) as writer:
        assert writer.finished["ISIC_0000002"] == "f" * 64
        assert sorted(writer.finished) == sorted(cache.ids())


def test_an_error_in_the_block_keeps_the_finished_masks(tmp_path):
    with (
        pytest.raises(KeyboardInterrupt),
        MaskCacheWriter(tmp_path, FINGERPRINT) as writer,
    ):
        writer.add(entry(0))
        raise KeyboardInterrupt
    cache = MaskCache(tmp_path)
    assert cache.ids() == ["ISIC_0000000"]
    assert not cache.complete


def test_binary_caches_threshold_soft_masks_and_keep_failures(tmp_path):
    with MaskCacheWriter(tmp_path, FINGERPRINT, "bin1") as writer:
        writer.add(entry(0))
        writer.add(MaskEntry.failed(image_id="bad", image_sha256="", reason="corrupt JPEG"))
        assert writer.counts == {"ok": 1, "failed": 1}
        assert writer.finished["bad"] == ""
        writer.complete()
    cache = MaskCache(tmp_path)
    assert_same(cache.read("ISIC_0000000"), entry(0).binary())
    assert cache.row("bad").reason == "corrupt JPEG"
    assert cache.counts == {"failed": 1, "ok": 1}
    assert verify_cache(tmp_path) == []


def test_a_shard_of_failures_alone_can_be_read(tmp_path):
    with MaskCacheWriter(tmp_path, FINGERPRINT) as writer:
        writer.add(MaskEntry.failed(image_id="bad", image_sha256=sha(1), reason="truncated"))
        writer.complete()
    assert MaskCache(tmp_path).read("bad").status == "failed"
    assert verify_cache(tmp_path) == []


def test_another_segmenter_is_refused_with_the_field_that_differs(tmp_path):
    write(tmp_path, range(2))
    other = json.loads(json.dumps(FINGERPRINT))
    other["segmenter"]["weights_sha256"] = ["c" * 64]
    other["postprocessing"]["threshold"] = 0.4
    other["algorithm_versions"]["hair_removal"] = 1
    with pytest.raises(LesionError) as caught:
        MaskCacheWriter(tmp_path, other)
    message = str(caught.value)
    assert "segmenter.weights_sha256 is " in message
    assert "postprocessing.threshold is 0.5 in the cache, 0.4 now" in message
    assert "algorithm_versions.hair_removal is not in the cache, 1 now" in message
    assert "preprocessing" not in message.replace("algorithm_versions.preprocessing", "")
    with pytest.raises(LesionError, match="encoding is 'soft8' in the cache, 'bin1' now"):
        MaskCacheWriter(tmp_path, FINGERPRINT, "bin1")
    with pytest.raises(LesionError, match="threshold"):
        MaskCache(tmp_path, fingerprint=other)
    assert len(MaskCache(tmp_path, fingerprint=FINGERPRINT)) == 2


def test_fingerprints_are_compared_as_json_gives_them_back():
    here = {"size": (32, 32), "path": Path("x"), "one": {"a": 1, "b": None}}
    there = {"one": {"b": None, "a": 1}, "path": "x", "size": [32, 32]}
    assert fingerprints.fingerprint_differences(there, here) == []
    assert fingerprints.fingerprint_sha256(here) == fingerprints.fingerprint_sha256(there)


def test_the_mending_that_the_refusal_names_works_and_keeps_edits(tmp_path):
    from lesioncore.cache import add_edit

    write(tmp_path, range(5))
    add_edit(tmp_path, "ISIC_0000001", ~entry(1).mask(), author="kim")
    (tmp_path / "index.json").unlink()
    with pytest.raises(LesionError, match="shards but no index"):
        MaskCacheWriter(tmp_path, {"segmenter": "new"})
    for path in tmp_path.glob("shard-*.h5"):
        path.unlink()
    with MaskCacheWriter(tmp_path, {"segmenter": "new"}) as writer:
        assert not writer.finished
        for number in range(3):
            writer.add(entry(number))
        writer.complete()
    cache = MaskCache(tmp_path)
    assert cache.row("ISIC_0000001").status == "edited"
    assert len(cache) == 3


def test_a_folder_that_is_something_else_is_refused_and_left_as_it_was(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(LesionError, match=r"(?s)holds no mask cache .*run\.json.*--out"):
        MaskCacheWriter(tmp_path, FINGERPRINT)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_bad_arguments_are_refused(tmp_path):
    for options in ({"encoding": "jpeg"}, {"writer": "a/b"}, {"writer": ""}, {"shard_size": 0}):
        with pytest.raises(LesionError):
            MaskCacheWriter(tmp_path, FINGERPRINT, **options)  # type: ignore[arg-type]
    writer = MaskCacheWriter(tmp_path, FINGERPRINT)
    with pytest.raises(LesionError, match="without an image id"):
        writer.add(entry(0, image_id=""))
    writer.close()


# --- kill -9 ---------------------------------------------------------------------------------

CHILD = textwrap.dedent(
    """
    import sys
    from lesioncore.cache import MaskCacheWriter
    from tests.core.mask_samples import FINGERPRINT, entry
    with MaskCacheWriter(sys.argv[1], FINGERPRINT, shard_size=5) as writer:
        print("ready", flush=True)
        for number in range(int(sys.argv[2])):
            made = entry(number)
            if writer.finished.get(made.image_id) != made.image_sha256:
                writer.add(made)
                print(made.image_id, flush=True)
        writer.complete()
        print("complete", flush=True)
    """
)


def start_child(folder: Path, count: int) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(count)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def test_kill_9_loses_no_mask_and_redoes_none(tmp_path):
    count, seen = 90, []
    for lines in (1, 4, 5, 23):  # right after the first, before, at and after closed shards
        child = start_child(tmp_path, count)
        new = [child.stdout.readline().strip() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        new += [line.strip() for line in child.stdout]  # finished while the signal was under way
        assert child.wait() == -signal.SIGKILL
        assert not set(new) & set(seen), "a finished mask was made again"
        seen += new
    child = start_child(tmp_path, count)
    rest = [line.strip() for line in child.stdout]
    assert child.wait() == 0
    assert rest[-1] == "complete"
    # Killed between a mask's last byte and its line on stdout, that mask is finished and unseen.
    assert count - 4 <= len(seen) + len(rest) - 1 <= count
    assert not set(rest) & set(seen)
    cache = MaskCache(tmp_path)
    assert len(cache) == count
    for number in range(count):
        assert_same(cache.read(f"ISIC_{number:07d}"), entry(number))
    assert verify_cache(tmp_path) == []
    assert not (tmp_path / "journal.bin").exists()
    assert not (tmp_path / "writer.lock").exists()


def test_every_moment_of_closing_a_shard_can_be_the_last(tmp_path, monkeypatch):
    """Die at each step after which a kill could come; the next run has all masks, once."""

    class Killed(BaseException):
        pass

    steps = ["write_durably", "remove", "write_index"]
    for step in steps:
        for when in ("before", "after"):
            folder = tmp_path / f"{step}-{when}"
            writer = MaskCacheWriter(folder, FINGERPRINT, shard_size=100)
            for number in range(3):
                writer.add(entry(number))

            def die(*args, step=step, when=when, real=None, **kwargs):
                if when == "after":
                    real(*args, **kwargs)
                raise Killed

            with monkeypatch.context() as patch:
                owner = journals.Journal if step == "remove" else writers
                real = getattr(owner, step)
                patch.setattr(owner, step, lambda *a, r=real, **k: die(*a, real=r, **k))
                with pytest.raises(Killed):
                    writer.flush()
            writer._lock.release()  # the kernel does it for a dead process
            with MaskCacheWriter(folder, FINGERPRINT, shard_size=100) as again:
                assert set(again.finished) == {f"ISIC_{n:07d}" for n in range(3)}, (step, when)
                again.complete()
            assert len(MaskCache(folder)) == 3
            assert sum(shard["rows"] for shard in _index(folder)["shards"]) == 3
            assert verify_cache(folder) == []


def _index(folder: Path) -> dict:
    return json.loads((folder / "index.json").read_text())


@pytest.mark.parametrize("cut", [1, 5, 40, 100])
def test_a_torn_tail_of_the_journal_is_dropped_and_the_rest_kept(tmp_path, cut):
    writer = MaskCacheWriter(tmp_path / "a", FINGERPRINT)
    for number in range(3):
        writer.add(entry(number))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    writer.close()
    (tmp_path / "b" / "writer.lock").unlink()
    journal = tmp_path / "b" / "journal.bin"
    journal.write_bytes(journal.read_bytes()[:-cut])
    with MaskCacheWriter(tmp_path / "b", FINGERPRINT) as again:
        assert sorted(again.finished) == ["ISIC_0000000", "ISIC_0000001"]
        again.add(entry(2))
        again.complete()
    cache = MaskCache(tmp_path / "b")
    for number in range(3):
        assert_same(cache.read(f"ISIC_{number:07d}"), entry(number))


def test_a_journal_cut_in_its_header_is_begun_anew(tmp_path):
    MaskCacheWriter(tmp_path, FINGERPRINT).close()
    (tmp_path / "journal.bin").write_bytes(b"LESION")
    with MaskCacheWriter(tmp_path, FINGERPRINT) as writer:
        writer.add(entry(0))
        writer.complete()
    assert MaskCache(tmp_path).ids() == ["ISIC_0000000"]


# --- full disks and locks ----------------------------------------------------------------------


def test_a_full_disk_in_the_journal_is_an_error_and_loses_nothing(tmp_path, monkeypatch):
    real, room = os.pwrite, [700]

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        take = min(len(data), room[0])
        if take == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        room[0] -= take
        return real(descriptor, data[:take], offset)

    writer = MaskCacheWriter(tmp_path, FINGERPRINT)
    with monkeypatch.context() as patch:
        room[0] = 2500
        patch.setattr(os, "pwrite", pwrite)
        added = 0
        with pytest.raises(LesionError, match="disk is full") as caught:
            for number in range(10):
                writer.add(entry(number))
                added += 1
    assert caught.value.exit_code == 1
    assert 0 < added < 10
    assert len(writer.finished) == added
    writer.add(entry(added))  # there is room again, and no torn record in between
    writer._lock.release()
    with MaskCacheWriter(tmp_path, FINGERPRINT) as again:
        assert len(again.finished) == added + 1
    for number in range(added + 1):
        assert_same(MaskCache(tmp_path).read(f"ISIC_{number:07d}"), entry(number))


def test_a_full_disk_while_closing_a_shard_is_an_error_and_loses_nothing(tmp_path, monkeypatch):
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        monkeypatch.context() as patch,
        pytest.raises(LesionError, match="disk is full"),
        MaskCacheWriter(tmp_path, FINGERPRINT, shard_size=3) as writer,
    ):
        patch.setattr(os, "fsync", full)
        for number in range(3):
            writer.add(entry(number))
    assert list(tmp_path.glob("*shard*")) == []  # not half a shard, not a temporary one
    with MaskCacheWriter(tmp_path, FINGERPRINT, shard_size=3) as writer:
        assert len(writer.finished) == 3
        writer.complete()
    assert verify_cache(tmp_path) == []


def test_two_writers_in_one_process_are_refused(tmp_path):
    writer = MaskCacheWriter(tmp_path, FINGERPRINT)
    with pytest.raises(LesionError, match=r"being written by this process"):
        MaskCacheWriter(tmp_path, FINGERPRINT, writer="gpu1")
    writer.close()
    MaskCacheWriter(tmp_path, FINGERPRINT).close()


def test_a_second_process_is_refused_and_told_who_writes(tmp_path):
    child = start_child(tmp_path, 100_000)
    try:
        with pytest.raises(LesionError, match=f"written by process {child.pid} on ") as caught:
            MaskCacheWriter(tmp_path, FINGERPRINT)
        assert "lesion cache merge" in str(caught.value)
    finally:
        child.kill()
        child.stdout.close()
        child.wait()
    MaskCacheWriter(tmp_path, FINGERPRINT).close()  # the lock of the dead is taken over


def test_the_lock_of_another_machine_is_not_taken_over(tmp_path):
    MaskCacheWriter(tmp_path, FINGERPRINT).close()
    note = json.dumps({"pid": 1, "host": "node-17"})
    (tmp_path / "writer.lock").write_text(note)
    with pytest.raises(LesionError, match="process 1 on node-17") as caught:
        MaskCacheWriter(tmp_path, FINGERPRINT)
    assert f"delete {tmp_path / 'writer.lock'}" in str(caught.value)


def test_a_forked_child_does_not_close_its_parents_shard(tmp_path):
    with MaskCacheWriter(tmp_path, FINGERPRINT) as writer:
        writer.add(entry(0))
        child = os.fork()
        if child == 0:
            writer.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert (tmp_path / "journal.bin").exists()
        assert (tmp_path / "writer.lock").exists()
        writer.add(entry(1))
        writer.complete()
    assert len(MaskCache(tmp_path)) == 2
