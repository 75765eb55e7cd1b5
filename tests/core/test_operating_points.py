"""Conformal sets cover each class, thresholds find what they promise, and both say when not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import betabinom

from lesioncore.calibration import ConformalSets
from lesioncore.calibration.abstention import abstention_curve
from lesioncore.calibration.choice import make_folds
from lesioncore.calibration.conformal import binomial, held_out_coverage
from lesioncore.calibration.operating import OperatingPoint, fit_operating_point
from lesioncore.errors import UsageError


def scores_of(n: int, seed: int, prevalence: float = 0.2):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < prevalence).astype(float)
    return labels, expit(1.6 * labels - 1 + rng.normal(size=n))


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("ties", [False, True])
def test_limits_are_those_of_the_p_values(alpha: float, ties: bool) -> None:
    labels, scores = scores_of(97, 1)
    if ties:
        scores = scores.round(1)
    limits = ConformalSets.fit(labels, scores, alpha)
    new = np.r_[np.linspace(0, 1, 41), scores]
    benign, malignant = scores[labels == 0], scores[labels == 1]
    p_benign = [(1 + (benign >= s).sum()) / (len(benign) + 1) for s in new]
    p_malignant = [(1 + (malignant <= s).sum()) / (len(malignant) + 1) for s in new]
    in_benign, in_malignant = limits.holds(new)
    assert in_benign.tolist() == [p > alpha + 1e-12 for p in p_benign]
    assert in_malignant.tolist() == [p > alpha + 1e-12 for p in p_malignant]


def test_with_too_few_cases_a_class_is_never_ruled_out() -> None:
    labels = np.r_[np.ones(8), np.zeros(100)]
    limits = ConformalSets.fit(labels, np.linspace(0, 1, 108), 0.1)
    assert limits.malignant_min is None and limits.benign_max is not None
    assert set(limits.sets([0.0, 1.0])) <= {"malignant", "both"}


def test_each_class_is_covered_over_many_draws_at_any_prevalence() -> None:
    covered = np.zeros((300, 2))
    for seed in range(300):
        labels, scores = scores_of(200, seed)
        limits = ConformalSets.fit(labels, scores, 0.1)
        new, found = scores_of(400, 10_000 + seed, prevalence=0.6)
        for label, held in enumerate(limits.holds(found)):
            covered[seed, label] = held[new == label].mean()
    # At least 90 % in the mean, and no more than the one case in n + 1 that rounding costs.
    assert (covered.mean(axis=0) > 0.895).all() and (covered.mean(axis=0) < 0.93).all()


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.2])
@pytest.mark.real_data
def test_coverage_on_held_out_real_predictions(real_data: Path, alpha: float) -> None:
    """Limits from some patients of ISIC 2024, coverage of the others, by turns."""
    folder = real_data / "isic2024_slice3d_sample"
    table = pd.read_csv(folder / "384_v2b1_5k.csv").merge(
        pd.read_csv(folder / "train-metadata.csv", usecols=["isic_id", "patient_id"]),
        on="isic_id", validate="one_to_one",
    )  # fmt: skip
    labels = table["target"].to_numpy(float)
    scores = table["oof_prediction"].to_numpy(float)
    patients = table["patient_id"].to_numpy()
    fold = make_folds(labels, patients)
    found = held_out_coverage(labels, scores, fold, alpha)
    for name in ("benign", "malignant"):
        held = found[name]["coverage"]
        assert held["low"] <= 1 - alpha <= held["high"], (name, held)
    # Two fifths of the patients against the rest: the limits are drawn too, so the interval is
    # that of both draws. Of ten such 95 % intervals one may miss.
    missed = 0
    for number in range(5):
        part = (fold == number) | (fold == (number + 1) % 5)
        assert not set(patients[part]) & set(patients[~part])
        limits = ConformalSets.fit(labels[part], scores[part], alpha)
        for label, held in enumerate(limits.holds(scores[~part])):
            own = held[labels[~part] == label]
            n = (limits.benign, limits.malignant)[label]
            out = int(np.floor(alpha * (n + 1) + 1e-9))
            low, high = betabinom(len(own), n + 1 - out, out).interval(0.95)
            missed += not low <= own.sum() <= high
    assert missed <= 1


def test_the_binomial_interval_is_exact() -> None:
    assert binomial(9, 10) == pytest.approx({"value": 0.9, "low": 0.5550, "high": 0.9975}, abs=1e-4)


def test_the_threshold_finds_what_it_was_asked_for_and_no_more() -> None:
    labels, scores = scores_of(2000, 4)
    groups = np.arange(2000) // 2
    found = fit_operating_point(labels, scores, groups, make_folds(labels, groups), 0.9)
    flagged = scores >= found.threshold.value
    assert flagged[labels == 1].mean() == found.sensitivity.value >= 0.9
    assert (scores > found.threshold.value)[labels == 1].mean() < 0.9
    assert (~flagged)[labels == 0].mean() == found.specificity.value
    for part in (found.threshold, found.sensitivity, found.specificity):
        assert part.low < part.value < part.high
    assert abs(found.held_out_sensitivity.value - 0.9) < 0.03
    assert found.notes == ()
    assert OperatingPoint.from_dict(found.to_dict()) == found


def test_intervals_widen_with_groups() -> None:
    labels, scores = scores_of(400, 5)
    labels, scores, rows = np.repeat(labels, 6), np.repeat(scores, 6), np.arange(2400)
    by_row = fit_operating_point(labels, scores, rows, None, 0.9)
    by_group = fit_operating_point(labels, scores, rows // 6, None, 0.9)
    for name in ("threshold", "sensitivity", "specificity"):
        one, other = getattr(by_row, name), getattr(by_group, name)
        assert other.high - other.low > 1.5 * (one.high - one.low)


def test_too_few_malignant_cases_are_said() -> None:
    labels, scores = np.r_[np.ones(7), np.zeros(200)], np.linspace(1, 0, 207)
    found = fit_operating_point(labels, scores, np.arange(207), None, 0.9)
    assert "7 malignant cases are too few" in found.notes[0]
    assert fit_operating_point(np.zeros(5), np.zeros(5), np.arange(5), None, 0.9) is None


def test_a_sensitivity_that_only_flagging_all_reaches_is_said() -> None:
    labels = np.r_[np.ones(50), np.zeros(200)]
    found = fit_operating_point(labels, np.full(250, 0.3), np.arange(250), None, 0.95)
    assert found.specificity.value == 0
    assert any("flagging every image" in note for note in found.notes)


def test_a_sensitivity_that_held_out_rows_do_not_reach_is_said() -> None:
    # Each fold's malignant rows lie under the threshold that the other fold would set.
    labels = np.r_[np.ones(60), np.zeros(60)]
    scores = np.r_[np.full(30, 0.9), np.full(30, 0.2), np.full(60, 0.5)]
    fold = np.r_[np.zeros(30), np.ones(30), np.zeros(30), np.ones(30)].astype(np.int64)
    found = fit_operating_point(labels, scores, np.arange(120), fold, 0.9)
    assert any("had a sensitivity of 0.5" in note for note in found.notes)


@pytest.mark.parametrize("wanted", [0, 1.2, -0.1])
def test_a_sensitivity_that_cannot_be_is_refused(wanted: float) -> None:
    with pytest.raises(UsageError, match="--sensitivity"):
        fit_operating_point(np.r_[0.0, 1.0], np.r_[0.1, 0.9], np.arange(2), None, wanted)


def test_leaving_the_least_sure_images_out_lowers_the_risk() -> None:
    rng = np.random.default_rng(6)
    scores = expit(3 * rng.normal(size=4000) - 1)
    labels = (rng.random(4000) < scores).astype(float)
    for threshold in (0.5, 0.2):
        curve = abstention_curve(labels, scores, np.full(4000, threshold))
        assert [kept.n for kept in curve] == [4000, 3800, 3600, 3200, 2800, 2400, 2000]
        risks = [kept.risk for kept in curve]
        assert risks == sorted(risks, reverse=True) and risks[-1] < risks[0] / 2
        assert risks[0] == pytest.approx(((scores >= threshold) != labels).mean())
        assert curve[-1].specificity > curve[0].specificity


def test_the_first_images_left_out_are_those_at_the_threshold() -> None:
    chance = np.linspace(0.01, 0.99, 99)
    curve = abstention_curve((chance > 0.5).astype(float), chance, np.full(99, 0.3))
    wrong = ((chance >= 0.3) & (chance <= 0.5)).sum()
    assert curve[0].risk == pytest.approx(wrong / 99)
    # Expected costs fall from 0.3 on to both sides, so the wrong ones near it leave first.
    assert curve[-1].risk < curve[0].risk / 3
