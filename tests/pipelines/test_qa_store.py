"""Decisions are kept, locks exclude, undo works, and the queue brings what needs a look."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lesioncore.errors import LesionError, UsageError

pytest.importorskip("sqlalchemy", reason="pip install 'lesion-pipeline[serve]'")

from pipelines.qa import locks, queue
from pipelines.qa.decisions import (
    Before,
    Judgement,
    after_mask,
    before_mask,
    record,
    standing,
    undo,
)
from pipelines.qa.pixels import PackedMask
from pipelines.qa.priority import Turn, order_of_review
from pipelines.qa.progress import audit_sample, progress, reviewers
from pipelines.qa.store import Store, database_url
from pipelines.qa.tables import metadata

MASK = np.zeros((12, 10), bool)
MASK[3:8, 2:9] = True


def turns(count: int, wanted: int = 1, version: str = "v1") -> list[Turn]:
    return [Turn(f"I{n}", "why", n % 2 == 0, wanted, version) for n in range(count)]


def before(image_id: str, version: str = "v1") -> Before:
    return Before(image_id, "a" * 64, version, 0, "ok", PackedMask.of(MASK))


def decide(store: Store, image_id: str, reviewer: str, action: Any = "accept", **other: Any):
    after = other.pop("after", MASK if action != "reject" else np.zeros_like(MASK))
    key = other.pop("key", f"{image_id} {reviewer} {action} {np.random.default_rng().random()}")
    judged = Judgement(key, reviewer, action, PackedMask.of(after), **other)
    record(store, before(image_id), judged)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    db: str | None = str(tmp_path / "qa.sqlite")
    if request.param == "postgresql":
        db = os.environ.get("LESION_POSTGRES")
        if db is None:
            pytest.skip("no PostgreSQL: LESION_POSTGRES=postgresql://USER@HOST/EMPTY_DATABASE")
    made = Store(database_url(db, tmp_path))
    metadata.drop_all(made.engine)
    made = Store(database_url(db, tmp_path))
    queue.enrol(made, turns(6))
    yield made
    made.close()


def test_no_image_is_given_to_two_reviewers(store: Store) -> None:
    queue.enrol(store, turns(60))
    got: dict[str, list[str]] = {}

    def take(name: str) -> None:
        for _ in range(5):
            got.setdefault(name, []).extend(queue.claim(store, name, "page", 3))

    people = [threading.Thread(target=take, args=(f"R{n}",)) for n in range(6)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    held = [set(images) for images in got.values()]
    assert sum(len(one) for one in held) == len(set().union(*held)) == 18


def test_the_queue_goes_on_behind_what_is_decided_or_passed(store: Store) -> None:
    assert queue.claim(store, "Kim", "p", 2) == ["I0", "I1"]
    decide(store, "I0", "Kim")
    decide(store, "I1", "Kim", "next")
    assert queue.claim(store, "Kim", "p", 2) == ["I2", "I3"]
    assert queue.claim(store, "Lee", "p", 2) == ["I1", "I4"]
    assert queue.left_for(store, "Kim") == 1
    queue.bring_back(store, "Kim")
    decide(store, "I1", "Lee", "flag")
    assert queue.left_for(store, "Kim") == 0
    assert "I1" not in queue.claim(store, "Kim", "p", 9)


def test_a_lock_ends_with_time_or_with_its_page(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert queue.claim(store, "Kim", "one", 1) == ["I0"]
    assert locks.hold(store, "Lee", "p", ["I0", "I1"]) == ["I0"]
    locks.release(store, "Kim", "another page")
    assert locks.holder_of(store, "I0") == "Kim"
    locks.release(store, "Kim", "one")
    assert queue.claim(store, "Lee", "p", 1) == ["I0"]
    monkeypatch.setattr(locks, "LOCK_SECONDS", -1.0)
    locks.hold(store, "Lee", "p", ["I0"])
    assert queue.claim(store, "Kim", "p", 1) == ["I0"]


def test_an_overlapping_image_goes_to_two_people_one_after_the_other(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'two.sqlite'}")
    queue.enrol(store, turns(1, wanted=2))
    assert queue.claim(store, "Kim", "p", 1) == ["I0"]
    assert queue.claim(store, "Lee", "p", 1) == []
    decide(store, "I0", "Kim")
    assert queue.claim(store, "Kim", "p", 1) == []
    assert queue.claim(store, "Lee", "p", 1) == ["I0"]
    decide(store, "I0", "Lee", "reject")
    assert queue.claim(store, "Ann", "p", 1) == []


def test_a_decision_is_kept_with_before_and_after_and_once(store: Store) -> None:
    drawn = MASK.copy()
    drawn[0, 0] = True
    for _ in range(2):
        decide(store, "I0", "Kim", "edit", after=drawn, key="same", note="hair", seconds=2.5)
    row = standing(store, "I0")
    assert row is not None and progress(store, "Kim").mine == 1
    assert (row.reviewer, row.action, row.note, row.seconds) == ("Kim", "edit", "hair", 2.5)
    assert (row.before_area, row.after_area, row.after_box) == (35, 36, "0 0 8 9")
    assert np.array_equal(after_mask(row), drawn) and np.array_equal(before_mask(row), MASK)


def test_undo_brings_back_the_last_decision_and_keeps_its_record(store: Store) -> None:
    decide(store, "I0", "Kim")
    decide(store, "I0", "Kim", "reject")
    decide(store, "I1", "Lee")
    assert undo(store, "Kim", "p") == "I0"
    assert standing(store, "I0").action == "accept"  # type: ignore[union-attr]
    assert undo(store, "Kim", "p") == "I0"
    assert standing(store, "I0") is None
    assert undo(store, "Kim", "p") is None
    assert standing(store, "I1").reviewer == "Lee"  # type: ignore[union-attr]
    assert queue.claim(store, "Kim", "p", 1) == ["I0"]


def test_undo_is_refused_while_another_looks(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'two.sqlite'}")
    queue.enrol(store, turns(1, wanted=2))
    decide(store, "I0", "Kim")
    queue.claim(store, "Lee", "p", 1)
    with pytest.raises(LesionError, match="somebody else"):
        undo(store, "Kim", "p")


def test_a_changed_mask_is_open_again_and_a_missing_one_rests(store: Store) -> None:
    decide(store, "I0", "Kim")
    decide(store, "I1", "Kim")
    queue.enrol(store, [*turns(1, version="v2"), *turns(3)[1:]])
    assert queue.claim(store, "Kim", "p", 9) == ["I0", "I2"]
    assert progress(store, "Kim").total == 3
    queue.enrol(store, [*turns(8)])
    assert queue.claim(store, "Kim", "p", 9) == ["I2", "I3", "I4", "I5", "I6", "I7"]


def test_pace_people_and_the_random_sample(store: Store) -> None:
    for number in range(6):
        action = "reject" if number == 0 else "accept"
        decide(store, f"I{number}", "Kim", action, seconds=4.0)
    found = progress(store, "Kim")
    assert (found.total, found.done, found.mine, found.an_hour) == (6, 6, 6, 900.0)
    assert [(one.name, one.accept, one.reject) for one in reviewers(store)] == [("Kim", 5, 1)]
    sample = audit_sample(store)
    assert sample is not None and (sample.judged, sample.accepted) == (3, 2)
    assert sample.low < 2 / 3 < sample.high


def test_a_round_goes_on_in_a_new_process(store: Store) -> None:
    decide(store, "I0", "Kim")
    store.close()
    again = Store(store.engine.url.render_as_string(hide_password=False), create=False)
    queue.enrol(again, turns(6))
    assert again.round == store.round
    assert queue.claim(again, "Kim", "p", 1) == ["I1"]


def test_databases_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LesionError, match="no such file"):
        Store(database_url(str(tmp_path / "none.sqlite"), tmp_path), create=False)
    with pytest.raises(UsageError, match="wanted"):
        Store("mysql://somewhere/x")
    (tmp_path / "text").write_text("no database at all " * 100)
    with pytest.raises(LesionError, match="not a database"):
        Store(database_url(str(tmp_path / "text"), tmp_path))


def table(count: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "image_id": [f"I{n}" for n in range(count)], "version": "v", "status": "ok",
            "quality": rng.uniform(0.7, 1, count), "score": 0.9, "disagreement": np.nan,
            "height": 100, "width": 100, "area": rng.integers(1000, 2000, count),
        }
    )  # fmt: skip


def test_doubtful_masks_come_first_and_the_sample_is_spread() -> None:
    rows = table(200)
    rows.loc[7, "status"], rows.loc[9, "quality"], rows.loc[11, "area"] = "failed", 0.1, 9900
    rows.loc[13, "status"] = "edited"
    order = order_of_review(rows, audit=0.0)
    assert order[0].image_id == "I7" and {order[1].image_id, order[2].image_id} == {"I9", "I11"}
    assert order[-1].image_id == "I13"
    assert {turn.why for turn in order[1:3]} == {"low quality, 0.10", "unusual size"}
    mixed = order_of_review(rows, audit=0.1, overlap=0.25, seed=1)
    places = np.array([at for at, turn in enumerate(mixed) if turn.audit])
    assert 8 <= len(places) <= 35 and np.diff(places).max() < 30
    assert 25 <= sum(turn.wanted == 2 for turn in mixed) <= 75
    assert sorted(turn.image_id for turn in mixed) == sorted(rows["image_id"])


def test_the_random_draw_survives_a_larger_archive() -> None:
    def drawn(count: int) -> set[str]:
        return {turn.image_id for turn in order_of_review(table(count), audit=0.2) if turn.audit}

    assert drawn(50) == {name for name in drawn(80) if int(name[1:]) < 50}
