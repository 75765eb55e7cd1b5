"""The doctor says what is there, what is missing and how to mend it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipelines import doctor as module
from pipelines.config import DoctorConfig
from pipelines.doctor import cached_hub_weights, doctor, machine_findings


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the versions: in a bare checkout the project itself is not installed."""
    monkeypatch.setattr(module, "_versions", lambda: iter(()))


def findings(out: Path) -> dict[str, module.Finding]:
    return {finding.name: finding for finding in machine_findings(out)}


def test_a_machine_that_can_work_is_told_so(sound, tmp_path: Path, capsys) -> None:
    assert doctor(DoctorConfig(out=tmp_path)) == 0
    out = capsys.readouterr().out
    for word in ("cores", "device", "offline package", "hub cache", "disk", "memory"):
        assert word in out
    assert "nothing needed is missing" in out


def test_a_full_disk_is_missing_room_and_fails(sound, tmp_path: Path, monkeypatch, capsys) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=2**20)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage)
    assert doctor(DoctorConfig(out=tmp_path)) == 1
    said = capsys.readouterr()
    assert "MISSING" in said.out and "1 missing" in said.out
    assert "disk" in said.err and "to mend" in said.err


def test_a_requirement_that_is_absent_or_too_old_is_named() -> None:
    from pipelines.doctor import _requirements

    needed = ["numpy>=1.26", "numpy>=99", "no-such-package>=2", "pandas; extra == 'dev'"]
    found = list(_requirements("versions", needed))
    assert [(f.name, f.state) for f in found] == [
        ("numpy", "ok"), ("numpy", "missing"), ("no-such-package", "missing"),
    ]  # fmt: skip
    assert found[1].mend == "pip install 'numpy>=99'"


def test_weights_in_the_hub_cache_are_found(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert cached_hub_weights() == []
    file = tmp_path / "models--timm--tf_efficientnet_lite0.in1k/snapshots/abc/model.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    assert cached_hub_weights() == ["timm/tf_efficientnet_lite0.in1k"]


def test_a_sound_data_set_passes(sound, phantoms: Path, tmp_path: Path, capsys) -> None:
    config = DoctorConfig(dataset="phantom", root=phantoms, n=96, images=10, out=tmp_path)
    assert doctor(config) == 0
    out = capsys.readouterr().out
    assert "96 in" in out and "10 opened, with their masks" in out
    assert "malignant" in out and "groups" in out and "duplicates" in out


def test_a_broken_file_is_named_and_fails(sound, phantoms: Path, tmp_path: Path, capsys) -> None:
    root = tmp_path / "broken"
    shutil.copytree(phantoms, root)
    victim = sorted((root / "images").iterdir())[5]
    victim.write_bytes(victim.read_bytes()[:200])
    config = DoctorConfig(dataset="phantom", root=root, n=96, images=0, out=tmp_path)
    assert doctor(config) == 1
    assert victim.name in capsys.readouterr().err


def test_a_wrong_root_says_what_is_wanted(sound, tmp_path: Path, capsys) -> None:
    config = DoctorConfig(dataset="ham10000", root=tmp_path / "nowhere", out=tmp_path)
    assert doctor(config) == 1
    error = capsys.readouterr().err
    assert "nowhere" in error and "wanted" in error


def test_json_is_for_machines(sound, tmp_path: Path, capsys) -> None:
    doctor(DoctorConfig(out=tmp_path, json=True))
    found = json.loads(capsys.readouterr().out)
    assert {"section", "name", "state", "found", "mend"} == set(found[0])
