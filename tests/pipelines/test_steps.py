"""Steps run once, and again only when what went into them has changed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lesioncore.errors import LesionError, UsageError
from lesioncore.files import read_json, write_json
from pipelines.steps import Ledger, Step, differences, plan, run_steps


class Chain:
    """Two steps that write files and count how often they ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ran: list[str] = []
        self.options = {"size": 96, "lr": 0.001}
        self.fails: str | None = None
        self.ledger = Ledger(folder)

    def steps(self) -> list[Step]:
        first, second = self.folder / "first", self.folder / "second.txt"
        return [
            Step(
                "train",
                "train it",
                first,
                inputs=lambda: {"data": {"rows": 5}, "options": dict(self.options)},
                run=lambda: self._work("train", first / "weights"),
                keep_old=True,
            ),
            Step(
                "score",
                "score it",
                second,
                inputs=lambda: {"weights": (first / "weights").read_text()},
                run=lambda: self._work("score", second),
                after=("train",),
            ),
        ]

    def _work(self, name: str, path: Path) -> None:
        self.ran.append(name)
        if self.fails == name:
            raise LesionError("no luck")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(self.options["size"]))

    def run(self, *force: str) -> list[str]:
        return run_steps(self.steps(), self.ledger, force)


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain(tmp_path)


def test_a_second_run_skips_every_step_and_says_so(chain: Chain, caplog) -> None:
    assert chain.run() == ["train", "score"]
    caplog.clear()
    assert chain.run() == []
    assert chain.ran == ["train", "score"]
    lines = [r.message for r in caplog.records if "skipped" in r.message]
    assert len(lines) == 2
    assert "its inputs are the same" in lines[0]


def test_a_changed_option_is_named_and_runs_the_step_and_what_follows(chain: Chain, caplog) -> None:
    chain.run()
    chain.options["size"] = 128
    caplog.clear()
    assert chain.run() == ["train", "score"]
    assert "options.size was 96 and is 128" in caplog.text
    assert "weights was 96 and is 128" in caplog.text


def test_a_step_behind_one_that_gave_the_same_result_is_skipped(chain: Chain) -> None:
    chain.run()
    chain.options["lr"] = 0.002
    assert chain.run() == ["train"]


def test_a_former_training_is_kept_beside_the_new_one(chain: Chain) -> None:
    chain.run()
    chain.options["size"] = 128
    chain.run()
    assert (chain.folder / "first~1" / "weights").read_text() == "96"
    chain.options["size"] = 160
    chain.run()
    assert (chain.folder / "first~2" / "weights").read_text() == "128"


def test_force_runs_a_step_again(chain: Chain) -> None:
    chain.run()
    assert chain.run("score") == ["score"]


def test_force_of_an_unknown_step_is_a_wrong_call(chain: Chain) -> None:
    with pytest.raises(UsageError, match="unknown step 'scor'") as caught:
        chain.run("scor")
    assert "did you mean 'score'" in str(caught.value)
    assert chain.ran == []


def test_a_lost_result_is_made_again(chain: Chain, caplog) -> None:
    chain.run()
    (chain.folder / "second.txt").unlink()
    assert chain.run() == ["score"]
    assert "is gone" in caplog.text


def test_a_step_that_failed_goes_on_without_losing_what_it_had(chain: Chain, caplog) -> None:
    chain.run()
    chain.options["size"] = 128
    chain.fails = "train"
    with pytest.raises(LesionError):
        chain.run()
    assert not read_json(chain.folder / "steps" / "train.json")["complete"]
    (chain.folder / "first").mkdir()
    (chain.folder / "first" / "checkpoint").write_text("half")
    chain.fails = None
    caplog.clear()
    assert chain.run() == ["train", "score"]
    assert "an earlier try was cut off" in caplog.text
    assert (chain.folder / "first" / "checkpoint").read_text() == "half"


def test_an_interrupt_leaves_the_step_unfinished_and_the_rest_untouched(chain: Chain) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    steps = chain.steps()
    cut = [steps[0], Step("score", "", steps[1].result, steps[1].inputs, interrupted)]
    with pytest.raises(KeyboardInterrupt):
        run_steps(cut, chain.ledger)
    assert read_json(chain.folder / "steps" / "train.json")["complete"]
    assert not read_json(chain.folder / "steps" / "score.json")["complete"]
    assert chain.run() == ["score"]


def test_the_time_of_a_try_that_was_cut_off_counts(chain: Chain) -> None:
    chain.fails = "train"
    with pytest.raises(LesionError):
        chain.run()
    path = chain.folder / "steps" / "train.json"
    write_json(path, read_json(path) | {"seconds": 100.0})
    chain.fails = None
    chain.run()
    assert read_json(path)["seconds"] >= 100


def test_the_plan_says_what_would_run_and_why_and_does_nothing(chain: Chain) -> None:
    before = plan(chain.steps(), chain.ledger)
    assert "run   train it: its result is not there yet" in before[0]
    assert "follows train" in before[1]
    assert chain.ran == []
    assert not (chain.folder / "steps").exists()
    chain.run()
    after = plan(chain.steps(), chain.ledger)
    assert all("skip" in line for line in after)
    chain.options["size"] = 128
    assert "options.size was 96 and is 128" in plan(chain.steps(), chain.ledger)[0]
    assert "by --force" in plan(chain.steps(), chain.ledger, ["score"])[1]


def test_a_state_of_another_version_is_refused(chain: Chain) -> None:
    chain.run()
    chain.ledger.write("train", schema_version=99)
    with pytest.raises(LesionError, match="another version"):
        chain.run()


def test_differences_names_fields_and_both_values() -> None:
    old = {"a": 1, "b": {"c": [1, 2], "d": "x"}}
    assert differences(old, {"a": 1, "b": {"c": (1, 2), "d": "x"}}) == []
    assert differences(old, {"a": 2, "b": {"c": [1, 2]}}) == [
        "a was 1 and is 2",
        "b.d was x and is None",
    ]
    digest = "0123456789abcdef" * 4
    assert differences({"sha": digest}, {"sha": "f" * 64}) == ["sha was 01234567… and is ffffffff…"]


def test_an_option_that_came_later_had_its_default(chain: Chain) -> None:
    chain.run()

    def steps(value: str) -> list[Step]:
        train = chain.steps()[0]
        later = {"data": {"rows": 5}, "options": {**chain.options, "later": value}}
        defaults = {"options": {"later": "auto"}}
        return [dataclasses.replace(train, inputs=lambda: later, defaults=defaults)]

    assert run_steps(steps("auto"), chain.ledger) == []
    assert run_steps(steps("other"), chain.ledger) == ["train"]
