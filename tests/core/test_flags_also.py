"""Archives named by a flag with a dash are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from clsstage.commands import COMMANDS as CLSSTAGE
from lesioncore.flags import parse_config
from pipelines.commands import COMMANDS as LESION
from segstage.commands import COMMANDS as SEGSTAGE


@pytest.mark.parametrize("commands", [SEGSTAGE, CLSSTAGE])
def test_a_further_archive_keeps_the_dashes_of_its_name(commands) -> None:
    given = ["--dataset=ham10000", "--root=a", "--out=b", "--also.isic-task1=c"]
    assert parse_config("train", commands["train"], given).also == {"isic-task1": Path("c")}


@pytest.mark.parametrize("name", ["audit", "skin-check"])
def test_in_every_command(name) -> None:
    given = ["--dataset=ham10000", "--root=a", "--out=b", "--also.isic-task1=c"]
    assert parse_config(name, LESION[name], given).also == {"isic-task1": Path("c")}


def test_in_a_section_too() -> None:
    given = ["--dataset=ham10000", "--root=a", "--out=b", "--classification.also.pad-ufes-20", "c"]
    found = parse_config("run", LESION["run"], given)
    assert found.classification.also == {"pad-ufes-20": Path("c")}
