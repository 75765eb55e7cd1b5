"""A wrong call is told what it said, what is wanted and which flag was meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from lesioncore.config import FitOptions
from lesioncore.errors import UsageError
from lesioncore.flags import Command, parse_config


@dataclass(frozen=True, kw_only=True)
class Config(FitOptions):
    """A config.

    Args:
        photos: files
        encoder_weights: where from
        columns: ours to the file's
        limit: how many
        ratio: of classes
        channels: of a decoder
    """

    photos: list[Path]
    encoder_weights: str = "auto"
    columns: dict[str, str] | None = None
    limit: int | None = None
    ratio: float | Literal["auto", "all"] = "auto"
    channels: list[int] | None = None


COMMAND = Command(Config, "nowhere:work", "work", ("photos", "+"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--epochs many", "--epochs is many: wanted a whole number"),
        ("--epochs 2.5", "--epochs is 2.5: wanted a whole number"),
        ("--device tpu", "--device is tpu: wanted one of auto, cpu, cuda, mps"),
        ("--limit x", "--limit is x: wanted a whole number"),
        ("--ratio x", "--ratio is x: wanted a number or one of auto, all"),
        ("--channels [a]", "--channels is ['a']: wanted a whole number"),
        ("--near-duplicates=maybe", "--near-duplicates is maybe: wanted true or false"),
        ("--columns a=b", "--columns is a=b: wanted a mapping such as"),
        ("--encoder-wieghts x", "unknown flag --encoder-wieghts (did you mean --encoder-weights?)"),
        ("--batch-size 0", "--batch-size is 0"),
        ("--lr -1", "--lr is -1"),
        ("--val-fraction 2", "--val-fraction is 2"),
        ("--warmup-epochs -1", "--warmup-epochs is -1"),
    ],
)
def test_a_wrong_flag_is_named_as_it_is_typed(words: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_config("p", COMMAND, ["photo.jpg", *words.split()])
    assert said in str(caught.value)
    assert "class '" not in str(caught.value)
    assert "_" not in str(caught.value).splitlines()[0].replace("image_id", "")


def test_what_is_given_without_a_flag_is_missed_without_one() -> None:
    with pytest.raises(UsageError, match="missing: PHOTOS"):
        parse_config("p", COMMAND, [])


def test_an_unknown_key_of_a_config_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("epoks: 3\n")
    with pytest.raises(UsageError, match=r"--epoks .did you mean --epochs"):
        parse_config("p", COMMAND, ["photo.jpg", "--config", str(file)])


def test_columns_that_yaml_would_read_as_something_else_stay_text() -> None:
    words = ["photo.jpg", "--columns", "{image_id: no, target: 1, site: 'a b', sex: 성별}"]
    config = parse_config("p", COMMAND, words)
    assert config.columns == {"image_id": "no", "target": "1", "site": "a b", "sex": "성별"}
