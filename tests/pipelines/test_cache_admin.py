"""`lesion cache info | verify | merge`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lesioncore.cache import MaskCache, MaskCacheWriter, add_edit
from lesioncore.commands import Command, run_commands
from pipelines.cache_config import CacheInfoConfig, CacheMergeConfig, CacheVerifyConfig
from tests.core.mask_samples import FINGERPRINT, entry

ADMIN = "pipelines.cache_admin"
COMMANDS = {
    "info": Command(CacheInfoConfig, f"{ADMIN}:info", "info", positional=("caches", "+")),
    "verify": Command(CacheVerifyConfig, f"{ADMIN}:verify", "verify", positional=("caches", "+")),
    "merge": Command(CacheMergeConfig, f"{ADMIN}:merge", "merge", positional=("caches", "+")),
}


def lesion_cache(*arguments: object) -> int:
    return run_commands("lesion cache", "", COMMANDS, [str(a) for a in arguments])


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    for part in range(2):
        with MaskCacheWriter(tmp_path / f"part-{part}", FINGERPRINT, shard_size=4) as writer:
            for number in range(part * 5, part * 5 + 5):
                writer.add(entry(number))
            writer.complete()
    return [tmp_path / "part-0", tmp_path / "part-1"]


def test_info_says_what_a_cache_holds_and_what_made_it(parts, capsys):
    add_edit(parts[0], "ISIC_0000001", ~entry(1).mask(), author="Kim")
    assert lesion_cache("info", parts[0]) == 0
    out = capsys.readouterr().out
    assert "5 masks (4 ok, 1 edited)" in out
    assert 'segmenter.arch = "unet"' in out
    assert "complete     yes" in out


def test_info_as_json_counts_what_waits_in_the_journal(parts, capsys):
    with MaskCacheWriter(parts[0], FINGERPRINT) as writer:
        writer.add(entry(9))
        assert lesion_cache("info", *parts, "--json") == 0
        facts = json.loads(capsys.readouterr().out)
    assert [fact["masks"] for fact in facts] == [5, 5]
    assert [fact["in_journal"] for fact in facts] == [1, 0]
    assert [fact["complete"] for fact in facts] == [False, True]
    assert facts[1]["fingerprint"] == FINGERPRINT


def test_verify_answers_with_its_exit_code_and_names_the_shard(parts, capsys, caplog):
    assert lesion_cache("verify", *parts) == 0
    assert capsys.readouterr().out.count("sound") == 2
    shard = parts[1] / "shard-00000-0.h5"
    shard.write_bytes(shard.read_bytes()[:-100])
    assert lesion_cache("verify", *parts, "--quick") == 1
    assert "shard-00000-0.h5 has" in capsys.readouterr().out
    assert "redoes only what was in them" in caplog.text
    assert lesion_cache("verify", *parts, "--json") == 1
    problems = json.loads(capsys.readouterr().out)
    assert problems[str(parts[0])] == []
    assert problems[str(parts[1])]


def test_merge_makes_one_cache_of_parts(parts, tmp_path):
    assert lesion_cache("merge", *parts, "--out", tmp_path / "all") == 0
    assert len(MaskCache(tmp_path / "all")) == 10


def test_faults_are_one_message_and_an_exit_code(parts, tmp_path, capsys):
    assert lesion_cache("info", tmp_path / "none") == 1
    assert "no mask cache in" in capsys.readouterr().err
    assert lesion_cache("merge", *parts) == 2
    assert lesion_cache("merge", *parts, "--out", parts[0]) == 1
    assert "is in use" in capsys.readouterr().err
