"""A run folder knows its config, is taken up again with the same one, and refuses another."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lesioncore.config import FitOptions
from lesioncore.errors import LesionError
from lesioncore.runs import Run

CONFIG = FitOptions(epochs=2)


def test_same_config_goes_on_and_another_is_refused(tmp_path: Path) -> None:
    run = Run.open(tmp_path / "r", "segstage", CONFIG)
    run.member(0)
    assert not Run.open(tmp_path / "r", "segstage", CONFIG).complete
    with pytest.raises(LesionError, match="epochs: 2 -> 3"):
        Run.open(tmp_path / "r", "segstage", FitOptions(epochs=3))
    other_machine = dataclasses.replace(CONFIG, device="cpu", workers=0)
    assert Run.open(tmp_path / "r", "segstage", other_machine).folder == tmp_path / "r"


def test_run_of_an_older_version_goes_on_when_options_were_added(tmp_path: Path) -> None:
    run = Run.open(tmp_path / "r", "segstage", CONFIG)
    older = {name: value for name, value in run.record["config"].items() if name != "select"}
    run.update(config=older)
    assert Run.open(tmp_path / "r", "segstage", CONFIG).folder == tmp_path / "r"
    with pytest.raises(LesionError, match="select: 'auto' -> 'last'"):
        Run.open(tmp_path / "r", "segstage", dataclasses.replace(CONFIG, select="last"))


def test_unfinished_and_wrong_kind_are_refused(tmp_path: Path) -> None:
    run = Run.open(tmp_path / "r", "segstage", CONFIG)
    with pytest.raises(LesionError, match="not finished"):
        Run.load(tmp_path / "r", "segstage")
    run.finish(members=1)
    assert Run.load(tmp_path / "r", "segstage").members == 1
    with pytest.raises(LesionError, match="run of 'segstage'"):
        Run.load(tmp_path / "r", "clsstage")
    with pytest.raises(LesionError, match="no run in"):
        Run.load(tmp_path / "nowhere", "segstage")


def test_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(LesionError, match="holds no run"):
        Run.open(tmp_path, "segstage", CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_config_file_can_be_given_again(tmp_path: Path) -> None:
    import yaml

    Run.open(tmp_path / "r", "segstage", CONFIG)
    assert yaml.safe_load((tmp_path / "r" / "config.yaml").read_text())["epochs"] == 2
