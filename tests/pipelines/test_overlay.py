"""Contact sheets show what was asked for, worst first."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lesioncore.cache import MaskCache
from lesioncore.errors import LesionError, UsageError
from pipelines.config import OverlayConfig
from pipelines.evaluation import evaluate_run, mask_scores_of
from pipelines.overlay import caption, overlay, ranked_masks, seems


def config(fake_run, tmp_path: Path, **options) -> OverlayConfig:
    given = {"dataset": "phantom", "root": fake_run.root, "masks": fake_run.paths.cache}
    return OverlayConfig(**given, out=tmp_path / "sheet.png", tile=64, **options)


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": ["good", "bad", "failed", "unsure"],
            "mask_status": ["ok", "ok", "failed", "ok"],
            "mask_score": [0.9, 0.8, np.nan, 0.3],
            "dice": [0.95, 0.2, 0.0, np.nan],
        }
    )


def test_worst_is_failed_then_lowest_dice_then_least_confident() -> None:
    assert list(ranked_masks(table(), "worst")["image_id"]) == ["failed", "bad", "unsure", "good"]
    assert list(ranked_masks(table(), "best")["image_id"]) == ["good", "unsure", "bad", "failed"]


def test_without_a_truth_the_quality_orders_and_the_score_where_there_is_none() -> None:
    rows = table().assign(dice=np.nan, mask_quality=[0.1, 0.7, np.nan, np.nan])
    assert list(ranked_masks(rows, "worst")["image_id"]) == ["failed", "good", "unsure", "bad"]
    assert seems(rows) == "quality"
    assert seems(table()) == "score"


def test_random_is_seeded() -> None:
    first, second = (list(ranked_masks(table(), "random", 3)["image_id"]) for _ in range(2))
    assert first == second


def test_the_caption_says_dice_or_score_and_the_probability() -> None:
    row = pd.Series({"dice": 0.512, "mask_score": 0.9, "malignant": 0.125, "label": 1.0})
    assert caption(row) == "Dice 0.51 · p 0.12 · malignant"
    assert caption(pd.Series({"dice": np.nan, "mask_score": 0.9})) == "score 0.90"
    judged = pd.Series({"dice": np.nan, "mask_score": 0.9, "mask_quality": 0.7})
    assert caption(judged) == "quality 0.70"


def test_a_failed_mask_counts_as_an_empty_one(fake_run) -> None:
    rows = fake_run.data.manifest.head(4)
    scores = mask_scores_of(rows, MaskCache(fake_run.paths.cache))
    assert list(scores["mask_status"]) == ["empty", "failed", "ok", "ok"]
    assert list(scores["dice"][:2]) == [0, 0]
    assert scores["dice"][2] > 0.8


def test_the_sheet_is_written_and_named(fake_run, tmp_path: Path, capsys) -> None:
    overlay(config(fake_run, tmp_path, tiles=7, per_row=4))
    path = Path(capsys.readouterr().out.strip())
    with Image.open(path) as sheet:
        assert sheet.width > 4 * 64
        assert sheet.height > 2 * 64


def test_a_page_holds_its_pictures_and_asks_for_nothing(fake_run, tmp_path: Path) -> None:
    out = tmp_path / "sheet.html"
    overlay(dataclasses.replace(config(fake_run, tmp_path, tiles=5), out=out))
    text = out.read_text()
    assert text.count("data:image/jpeg;base64,") == 5 and "failed" in text
    assert "<script" not in text and "http" not in text and "research use" in text


def test_only_shows_the_statuses_asked_for(fake_run, tmp_path: Path, caplog) -> None:
    overlay(config(fake_run, tmp_path, only=["empty", "failed"]))
    with pytest.raises(LesionError, match="is edited"):
        overlay(config(fake_run, tmp_path, only=["edited"]))


def test_ids_choose_images_and_unknown_ones_are_refused(fake_run, tmp_path: Path) -> None:
    ids = fake_run.data.manifest["image_id"].tolist()[5:7]
    overlay(config(fake_run, tmp_path, ids=ids))
    with pytest.raises(UsageError, match="no image 'nobody'"):
        overlay(config(fake_run, tmp_path, ids=["nobody"]))


def test_an_unknown_status_lists_the_known(fake_run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown status 'fialed'") as caught:
        overlay(config(fake_run, tmp_path, only=["fialed"]))
    assert "failed" in str(caught.value)


def test_a_cache_of_other_images_is_refused(fake_run, tmp_path: Path) -> None:
    from lesioncore.cache import MaskCacheWriter

    with MaskCacheWriter(tmp_path / "other", {"segmenter": {}}) as writer:
        writer.complete()
    given = config(fake_run, tmp_path)
    with pytest.raises(LesionError, match="none of the 96 masks") as caught:
        overlay(OverlayConfig(**(vars(given) | {"masks": tmp_path / "other"})))
    assert "segstage cache" in str(caught.value)


def test_no_cache_at_all_is_refused(fake_run, tmp_path: Path) -> None:
    given = config(fake_run, tmp_path)
    with pytest.raises(LesionError):
        overlay(OverlayConfig(**(vars(given) | {"masks": tmp_path / "nowhere"})))


@pytest.mark.parametrize("wrong", [{"tiles": 0}, {"tile": 4}, {"out": Path("sheet.pdf")}])
def test_wrong_values_are_refused_before_any_work(wrong: dict) -> None:
    given = {"dataset": "phantom", "masks": Path("cache"), "out": Path("sheet.png")}
    with pytest.raises(ValueError, match=r"wanted|must be"):
        OverlayConfig(**(given | wrong))


def test_the_sheets_of_a_run(fake_run) -> None:
    from pipelines.overlay import run_sheets

    evaluate_run(fake_run.paths, fake_run.data, subset="test", resamples=20)
    run_sheets(fake_run.paths, subset="test", tiles=5, seed=0)
    assert {p.name for p in fake_run.paths.overlays.iterdir()} == {"worst.png", "random.png"}
