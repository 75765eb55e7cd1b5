"""What a mask's traits say of it, and the quality that a run learns from its validation masks."""

from __future__ import annotations

import functools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesioncore.errors import LesionError
from lesioncore.files import read_json
from segstage.mask_traits import TRAITS_VERSION, ExpectedSize, mask_traits, tile_size
from segstage.postprocess import PostProcessing, confidence
from segstage.predictor import LesionSegmenter
from segstage.quality import FILE, LOW_QUALITY, QualityModel, agreement_factor, load_quality
from segstage.quality_fit import MIN_IMAGES, cross_validated, fit_quality, quality_of_run
from segstage.scoring import expected_sizes
from segstage.train import train
from tests.segstage.conftest import tiny

SIZE = 96


def blob(radius: float = 20.0, x: float = 48, y: float = 48, soft: float = 1.0) -> np.ndarray:
    """Return a (96, 96) uint8 disc whose border is `soft` pixels wide."""
    yy, xx = np.mgrid[:SIZE, :SIZE] + 0.5
    inside = 1 / (1 + np.exp(np.clip((np.hypot(yy - y, xx - x) - radius) / soft, -50, 50)))
    return np.round(255 * inside).astype(np.uint8)


def traits_of(probability: np.ndarray, **more: float) -> dict[str, float]:
    return mask_traits(probability, PostProcessing()(probability), 0.5, **more)


def test_a_sharp_disc_has_the_traits_of_a_disc():
    found = traits_of(blob(20, soft=0.01))
    assert found["area"] == pytest.approx(np.pi * 20**2 / SIZE**2, rel=0.01)
    assert found["confidence"] == pytest.approx(1.0, abs=0.01)
    assert found["stability"] == pytest.approx(1.0, abs=0.01)
    assert found["rim"] == pytest.approx(0.0, abs=0.01)
    assert found["parts"] == 1
    assert found["outside"] == pytest.approx(0.0, abs=0.01)
    assert found["border_contact"] == 0
    assert found["off_centre"] == pytest.approx(0, abs=1e-6)
    assert found["solidity"] > 0.97
    assert found["compactness"] > 0.88


def test_a_blurred_border_is_less_stable_and_has_a_wider_rim():
    sharp, blurred = traits_of(blob(soft=1)), traits_of(blob(soft=4))
    assert blurred["stability"] < sharp["stability"]
    assert blurred["rim"] > sharp["rim"]
    assert blurred["confidence"] < sharp["confidence"]


def test_a_part_that_was_removed_counts_as_parts_and_as_mass_outside():
    both = np.maximum(blob(16, x=30), blob(8, x=78))
    found = traits_of(both)
    assert found["parts"] == 2
    assert found["outside"] == pytest.approx(0.27, abs=0.02)
    gated = PostProcessing()(both)
    assert found["confidence"] == confidence(both, gated, 0.5)


def test_half_a_disc_at_the_edge_touches_it_with_its_diameter():
    found = traits_of(blob(20, x=0, soft=0.01))
    # The sides of a digital half disc: 40 along the edge, 20 + 20 + 40 along the arc.
    assert found["border_contact"] == pytest.approx(40 / 120, abs=0.02)


def test_an_empty_mask_has_quality_zero_and_no_trait_fails():
    empty = traits_of(np.zeros((SIZE, SIZE), np.uint8))
    assert empty["area"] == 0
    assert model().predict(empty) == 0


def test_a_tile_is_compared_with_the_size_that_was_measured():
    width = SIZE
    area_mm2 = np.pi * 20**2 / width**2 * 225
    size = tile_size(area_mm2, 40 / width * 15)
    found = traits_of(blob(20, soft=0.01), expected_area=size.area,
                      expected_minor_axis=size.minor_axis)  # fmt: skip
    assert found["area_agreement"] == pytest.approx(1, abs=0.02)
    assert found["axis_agreement"] == pytest.approx(1, abs=0.02)
    twice = traits_of(blob(20), expected_area=2 * size.area)  # type: ignore[operator]
    assert twice["area_agreement"] == pytest.approx(0.5, abs=0.02)
    assert tile_size(float("nan"), None) == ExpectedSize(None, None)


def test_disagreement_with_a_measured_size_lowers_the_quality_by_the_rule():
    plain = traits_of(blob(20))
    assert agreement_factor(plain) == 1
    assert agreement_factor(plain | {"area_agreement": 0.6, "axis_agreement": 0.9}) == 1
    assert agreement_factor(plain | {"area_agreement": 0.9, "axis_agreement": 0.25}) == 0.5
    fitted = model()
    lowered = fitted.predict(plain | {"area_agreement": 0.25})
    assert lowered == pytest.approx(fitted.predict(plain) / 2)


def test_only_tiles_have_a_measured_size():
    rows = pd.DataFrame(
        {"modality": ["tile", "dermoscopy", "tile"], "tbp_lv_areaMM2": [9.0, 9.0, np.nan]}
    )
    sizes = expected_sizes(rows)
    assert sizes[0] == ExpectedSize(9 / 225, None)
    assert sizes[1] == sizes[2] == ExpectedSize()
    assert expected_sizes(rows[["modality"]]) == [ExpectedSize()] * 3


def examples(n: int = 120, seed: int = 0) -> tuple[list[dict[str, float]], np.ndarray]:
    """Return traits of discs that are the more blurred the worse they are, and a Dice."""
    rng = np.random.default_rng(seed)
    blur = rng.uniform(0.5, 6, n)
    rows = [traits_of(blob(rng.uniform(12, 25), x=rng.uniform(35, 60), soft=soft)) for soft in blur]
    return rows, np.clip(1.02 - 0.08 * blur + rng.normal(0, 0.02, n), 0, 1)


@functools.cache
def model() -> QualityModel:
    rows, dice = examples()
    fitted = fit_quality(rows, dice.tolist(), list(range(len(rows))))
    assert fitted is not None
    return fitted


def test_quality_predicts_the_dice_of_masks_it_has_not_seen():
    fitted = model()
    rows, dice = examples(seed=1)
    found = np.array([fitted.predict(row) for row in rows])
    assert np.corrcoef(found, dice)[0, 1] > 0.9
    assert found.mean() == pytest.approx(dice.mean(), abs=0.03)
    assert fitted.scores["spearman"]["value"] > 0.85
    assert fitted.scores["n"] == 120
    assert ((found > 0) & (found < 1)).all()


def test_more_blur_never_gives_more_quality():
    fitted = model()
    found = [fitted.predict(traits_of(blob(20, soft=soft))) for soft in np.linspace(0.5, 7, 20)]
    assert (np.diff(found) <= 1e-9).all()


def test_the_model_is_plain_json_and_the_same_twice(tmp_path):
    fitted = model()
    fitted.save(tmp_path)
    assert load_quality(tmp_path) == fitted
    assert model.__wrapped__().to_dict() == fitted.to_dict()
    assert load_quality(tmp_path / "elsewhere") is None
    other = replace(fitted, intercept=fitted.intercept + 1)
    assert other.identity["sha256"] != fitted.identity["sha256"]
    assert replace(fitted, scores={}).identity == fitted.identity


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "a recipe"}, "no quality model"),
        ({"schema_version": 99}, "99"),
        ({"traits_version": TRAITS_VERSION + 1}, "traits version"),
        ({"traits": {"colour": {}}}, "damaged.*colour"),
        ({"intercept": None}, "damaged"),
    ],
)
def test_another_file_is_refused_in_words(tmp_path, change, words):
    (tmp_path / FILE).write_text(json.dumps(model().to_dict() | change))
    with pytest.raises(LesionError, match=words):
        load_quality(tmp_path)


def test_too_few_masks_give_no_model():
    rows, dice = examples(MIN_IMAGES - 1)
    assert fit_quality(rows, dice.tolist(), list(range(len(rows)))) is None


def test_images_of_one_patient_are_held_back_together():
    rows, dice = examples(60)
    assert cross_validated(rows, dice, ["one"] * 60) == {"n": 0}
    assert cross_validated(rows, dice, [n // 2 for n in range(60)])["n"] == 60


def test_a_low_quality_has_a_reason_and_a_good_one_has_none():
    fitted = model()
    quality, reason = fitted.judge(traits_of(blob(14, soft=7)))
    assert 0 < quality < LOW_QUALITY
    assert reason.startswith("low quality: ")
    assert fitted.judge(traits_of(blob(20, soft=0.6)))[1] == ""
    _, of_size = fitted.judge(traits_of(blob(20), expected_area=0.9))
    assert "measured" in of_size


@pytest.fixture(scope="module")
def judged(archive, tmp_path_factory) -> Path:
    """A run with enough validation masks for a model: all 40 images, drawn at a low threshold."""
    out = tmp_path_factory.mktemp("judged") / "seg"
    assert train(tiny(archive, out, folds=2, threshold=0.3, test_list="none")) == 0
    return out


def test_a_run_fits_saves_and_reports_its_quality(judged):
    home = judged
    fitted = load_quality(home)
    scores = pd.read_csv(home / "oof.csv", dtype={"group": str})
    assert fitted is not None
    assert fitted.images == int((scores["area"] > 0).sum())
    assert "trait_stability" in scores
    assert read_json(home / "metrics.json")["quality"] == fitted.scores
    assert (
        "rank\ncorrelation" in (home / "summary.md").read_text()
        or "rank correlation" in (home / "summary.md").read_text()
    )


def test_masks_of_a_run_are_judged_by_its_model(judged, manifest):
    from lesioncore.images import read_image

    segmenter = LesionSegmenter.load(judged, "cpu")
    entry = segmenter.predict(read_image(manifest["image"].iloc[0]))
    assert entry.status == "ok"
    assert entry.quality is not None
    assert 0 < entry.quality < 1
    assert bool(entry.reason) == (entry.quality < LOW_QUALITY)


def test_a_cache_holds_the_quality_and_says_which_model_it_is_of(judged, archive, tmp_path):
    from lesioncore.cache import MaskCache
    from segstage.caching import cache
    from segstage.config import CacheConfig

    out = tmp_path / "cache"
    config = CacheConfig(
        dataset="phantom", root=archive, out=out, weights=judged, device="cpu", workers=0, limit=4
    )
    assert cache(config) == 0
    masks = MaskCache(out)
    fitted = load_quality(judged)
    assert fitted is not None
    assert masks.quality_models == [fitted.identity]
    table = masks.table()
    assert table["quality"].between(0, 1).all()
    # An image in the run: the member that did not see it, as in validation.
    oof = pd.read_csv(judged / "oof.csv", dtype={"image_id": str}).set_index("image_id")
    again = oof.loc[table["image_id"], [n for n in oof if n.startswith("trait_")]]
    again.columns = [name.removeprefix("trait_") for name in again.columns]
    expected = [fitted.predict(row) for row in again.to_dict("records")]
    assert table["quality"].tolist() == pytest.approx(expected, abs=1e-6)


def test_quality_decides_no_mask_so_it_is_not_in_the_fingerprint(judged, tmp_path):
    with_model = LesionSegmenter.load(judged, "cpu")
    home = Path(shutil.copytree(judged, tmp_path / "seg"))
    (home / FILE).unlink()
    without = LesionSegmenter.load(home, "cpu")
    assert without.quality is None
    assert with_model.fingerprint == without.fingerprint


def test_a_small_run_has_no_model_and_says_so(archive, tmp_path, caplog):
    with caplog.at_level("INFO", logger="lesion"):
        assert train(tiny(archive, tmp_path / "seg", test_list="none")) == 0
    assert not (tmp_path / "seg" / FILE).exists()
    assert read_json(tmp_path / "seg" / "metrics.json")["quality"] is None
    assert "No quality model" in (tmp_path / "seg" / "summary.md").read_text()
    entry = LesionSegmenter.load(tmp_path / "seg", "cpu").predict(np.zeros((50, 60, 3), np.uint8))
    assert entry.quality is None


def test_a_validation_table_without_traits_gives_no_model(tmp_path):
    scores = pd.DataFrame({"dice": [0.9] * 40, "group": [str(n) for n in range(40)]})
    assert quality_of_run(tmp_path, scores) is None
