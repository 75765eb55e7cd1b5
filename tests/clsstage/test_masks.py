"""Which masks are trusted, and what stage 2 refuses to learn from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clsstage.masks import (
    MaskTrust,
    check_snapshot,
    check_training_masks,
    choose_masks,
    snapshot,
)
from lesioncore.cache import MaskCache, MaskCacheWriter, MaskEntry
from lesioncore.errors import LesionError
from tests.clsstage.conftest import COUNT, FINGERPRINT, write_cache


def entry(**changes) -> MaskEntry:
    mask = np.zeros((8, 8), bool)
    mask[2:5, 2:5] = True
    made = MaskEntry.from_mask(
        image_id="a", image_sha256="0" * 64, mask=mask, member="0", in_sample=False
    )
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "ok"),
        ({"score": 0.2}, "distrusted"),
        ({"quality": 0.2}, "distrusted"),
        ({"quality": 0.9}, "ok"),
        ({"quality": 0.2, "reason": "low quality: its border is blurred"}, "distrusted"),
        ({"status": "edited", "score": 0.0}, "edited"),
        ({"status": "edited", "area": 0}, "empty"),
        ({"status": "empty", "area": 0}, "empty"),
        ({"status": "failed", "area": 0, "reason": "no memory"}, "failed"),
    ],
)
def test_masks_are_judged(changes, status):
    found, reason = MaskTrust(min_score=0.5, min_quality=0.5).judge(entry(**changes))
    assert found == status
    assert bool(reason) == (status not in ("ok", "edited"))


def test_without_a_quality_the_score_is_held_against_its_limit():
    trust = MaskTrust(min_quality=0.6)
    assert trust.judge(entry(score=0.5)) == ("distrusted", "score 0.50 is under 0.6")
    assert trust.judge(entry(score=0.7)) == ("ok", "")
    assert trust.judge(entry(score=float("nan"))) == ("ok", "")
    assert trust.judge(entry(score=0.5, quality=0.8)) == ("ok", "")
    low = entry(quality=0.5, reason="low quality: its border is blurred")
    assert "0.50 is under 0.6 (low quality: its border is blurred)" in trust.judge(low)[1]


def test_tables_and_rows_are_judged_alike(cache):
    trust = MaskTrust(0.0, 0.5)
    ids = [*cache.ids(), "nobody"]
    choices = choose_masks(cache, ids, trust)
    assert choices.status[:-1] == [trust.judge(cache.row(name))[0] for name in ids[:-1]]
    assert choices.status[-1] == "missing"
    assert choices.used.sum() == choices.counts()["ok"]


def test_without_a_cache_no_mask_is_used():
    choices = choose_masks(None, ["a", "b"], MaskTrust())
    assert choices.status == ["none", "none"]
    assert not choices.used.any()


def test_an_incomplete_cache_is_refused_with_counts(tmp_path, manifest):
    ids = manifest["image_id"].tolist()
    with MaskCacheWriter(tmp_path / "cache", FINGERPRINT) as writer:
        for name in ids[:5]:
            writer.add(entry(image_id=name))
    with pytest.raises(
        LesionError, match=rf"(?s)5 of the {COUNT} images.*segstage cache"
    ) as caught:
        check_training_masks(MaskCache(tmp_path / "cache"), ids, tmp_path, allow_in_sample=False)
    assert "not complete" in caught.value.found


def test_a_cache_that_lacks_images_is_refused(tmp_path, manifest):
    folder = write_cache(tmp_path / "cache", manifest.iloc[:-3])
    with pytest.raises(LesionError, match=f"lacks 3 of the {COUNT} images"):
        check_training_masks(
            MaskCache(folder), manifest["image_id"].tolist(), folder, allow_in_sample=False
        )


def test_in_sample_masks_are_refused_unless_allowed(tmp_path, manifest):
    folder = write_cache(tmp_path / "cache", manifest, in_sample=True)
    cache, ids = MaskCache(folder), manifest["image_id"].tolist()
    with pytest.raises(LesionError, match=f"(?s){COUNT} of the {COUNT}.*--allow-in-sample-masks"):
        check_training_masks(cache, ids, folder, allow_in_sample=False)
    check_training_masks(cache, ids, folder, allow_in_sample=True)


def test_a_snapshot_notices_an_edit(tmp_path, manifest):
    from lesioncore.cache.edits import add_edit

    folder = write_cache(tmp_path / "cache", manifest)
    ids = manifest["image_id"].tolist()
    before = snapshot(MaskCache(folder), ids, folder)
    check_snapshot(before, snapshot(MaskCache(folder), ids[::-1], folder))
    shape = MaskCache(folder).row(ids[0]).shape
    add_edit(folder, ids[0], np.ones(shape, bool), author="a person")
    after = snapshot(MaskCache(folder), ids, folder)
    assert (before["max_revision"], after["max_revision"]) == (0, 1)
    with pytest.raises(LesionError, match="max_revision: 0 -> 1"):
        check_snapshot(before, after)


def test_a_snapshot_names_the_field_that_differs(cache, masks, manifest):
    now = snapshot(cache, manifest["image_id"].tolist(), masks)
    other = now | {"fingerprint": {**FINGERPRINT, "preprocessing": {"size": 96}}}
    with pytest.raises(LesionError, match=r"preprocessing\.size"):
        check_snapshot(other, now)
