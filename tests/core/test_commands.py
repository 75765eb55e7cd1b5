"""Commands from dataclasses: one spelling of flags, readable mistakes, exit codes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lesioncore.commands import run_commands
from lesioncore.errors import LesionError, UsageError
from lesioncore.flags import Command, parse_config


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A part.

    Args:
        epochs: passes
    """

    epochs: int = 3


@dataclass(frozen=True, kw_only=True)
class Config:
    """A config.

    Args:
        out: where to
        names: of columns
        batch_size: images a step
        dry_run: only say
        part: a nested part
    """

    out: Path
    names: list[str] | None = None
    batch_size: int = 8
    dry_run: bool = False
    part: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}, at least 1 is wanted")


@dataclass(frozen=True, kw_only=True)
class PhotoConfig:
    """Photos.

    Args:
        photos: photos or folders
    """

    photos: list[Path]


seen: list[object] = []


def work(config: object) -> int | None:
    """Remember the config; fail the way the first photo's name says."""
    seen.append(config)
    name = config.photos[0].name if isinstance(config, PhotoConfig) else ""
    if name == "bad":
        raise LesionError("found this", wanted="that", mend="do so")
    if name == "crash":
        raise ZeroDivisionError("oops")
    if name == "interrupt":
        raise KeyboardInterrupt
    return 1 if name == "failed" else None


COMMAND = Command(Config, f"{__name__}:work", "work on it")
TREE = {
    "work": COMMAND,
    "photos": Command(PhotoConfig, f"{__name__}:work", "p", ("photos", "+")),
    "both": Command(
        Config, f"{__name__}:work", "work here", commands={"below": COMMAND},
    ),
}  # fmt: skip


def call(*words: str) -> int:
    return run_commands("prog", "A program.", TREE, list(words))


def test_dashes_and_underscores_are_one_flag() -> None:
    for flag in ("--batch-size", "--batch_size"):
        assert parse_config("p", COMMAND, ["--out", "o", flag, "3"]).batch_size == 3
    assert parse_config("p", COMMAND, ["--out=o", "--batch-size=3"]).batch_size == 3


def test_boolean_needs_no_value_but_takes_one() -> None:
    assert parse_config("p", COMMAND, ["--dry-run", "--out", "o"]).dry_run is True
    assert parse_config("p", COMMAND, ["--dry-run", "false", "--out", "o"]).dry_run is False
    assert parse_config("p", COMMAND, ["--dry-run=true", "--out", "o"]).dry_run is True


def test_list_flag_may_be_said_several_times() -> None:
    config = parse_config("p", COMMAND, ["--out", "o", "--names", "a", "--names=b"])
    assert config.names == ["a", "b"]
    assert parse_config("p", COMMAND, ["--out", "o", "--names", "[a, b]"]).names == ["a", "b"]


def test_list_flag_takes_several_words_where_none_stands_alone() -> None:
    words = ["--names", "a", "b", "--out", "o", "--dry-run", "--names", "c"]
    config = parse_config("p", COMMAND, words)
    assert (config.names, config.out, config.dry_run) == (["a", "b", "c"], Path("o"), True)


def test_flag_wins_over_yaml_and_keeps_its_siblings(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("batch_size: 5\nout: from_file\npart:\n  epochs: 7\n")
    config = parse_config("p", COMMAND, ["--config", str(file), "--out", "said"])
    assert (config.batch_size, config.out, config.part.epochs) == (5, Path("said"), 7)
    config = parse_config("p", COMMAND, ["--config", str(file), "--part.epochs", "1"])
    assert config.part.epochs == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "o", "--foo", "1"], "--foo"),
        (["--out", "o", "--batch-size", "many"], "--batch-size"),
        (["--out", "o", "--batch-size", "0"], "at least 1"),
        ([], "--out"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_wrong_call_names_the_mistake(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("-", r"\-")):
        parse_config("p", COMMAND, words)


def test_unknown_key_in_yaml_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("out: o\nbatchsize: 5\n")
    with pytest.raises(UsageError, match="batchsize"):
        parse_config("p", COMMAND, ["--config", str(file)])


def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("work", "--out", "o") == 0
    assert call("photos", "failed") == 1
    assert call("work") == 2
    assert call("photos", "interrupt") == 130
    assert "go on" in capsys.readouterr().err


def test_error_says_found_wanted_and_mend(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("photos", "bad") == 1
    error = capsys.readouterr().err
    assert "found this" in error and "wanted: that" in error and "to mend: do so" in error


def test_fault_is_one_line_not_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("photos", "crash") == 1
    error = capsys.readouterr().err
    assert "ZeroDivisionError" in error and "Traceback" not in error


def test_unknown_command_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("wrok") == 2
    error = capsys.readouterr().err
    assert "photos, work" in error and "did you mean 'work'" in error


def test_help_goes_to_stdout_with_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("work", "--help") == 0
    assert "--batch-size" in capsys.readouterr().out
    assert call("--help") == 0
    assert "work on it" in capsys.readouterr().out


def test_positional_photos() -> None:
    assert call("photos", "a.jpg", "b.jpg") == 0
    assert seen[-1] == PhotoConfig(photos=[Path("a.jpg"), Path("b.jpg")])


def test_error_survives_a_worker_process() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(UsageError("a", wanted="b", mend="c")))
    assert isinstance(error, UsageError) and str(error) == str(
        UsageError("a", wanted="b", mend="c")
    )


def test_a_command_may_have_commands_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    seen.clear()
    assert call("both", "--out", "here") == 0
    assert call("both", "below", "--out", "there") == 0
    assert [config.out.name for config in seen] == ["here", "there"]  # type: ignore[attr-defined]
    assert call("both") == 2
    assert "--out" in capsys.readouterr().err
    assert call("both", "belwo") == 2
    assert "did you mean 'below'" in capsys.readouterr().err
    assert call("both", "--help") == 0
    assert "prog both below" in capsys.readouterr().out
