"""Each map undoes the distortion it is for, is chosen on rows it has not seen, and comes back whole
from its file."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.special import expit, logit

from lesioncore.calibration import (
    Calibration,
    calibrator_class,
    fit_calibration,
    read_calibration,
    write_calibration,
)
from lesioncore.calibration.band import fit_band
from lesioncore.calibration.calibrator import calibrators, smoothed_targets
from lesioncore.calibration.choice import (
    choose,
    cross_fitted,
    make_folds,
    mean_by_group,
    row_losses,
)
from lesioncore.calibration.prior import drift, far_apart, prior_offset, shifted
from lesioncore.calibration.text import evidence_lines, statement
from lesioncore.errors import LesionError, UsageError
from lesioncore.metrics import roc_auc

SAID = {"name": "a set", "model": "a model", "policy": "target"}


def lesions(n: int = 6000, seed: int = 0, level: float = -1.5):
    """Labels, their true probabilities, and groups of three."""
    rng = np.random.default_rng(seed)
    chance = expit(level + 1.8 * rng.normal(size=n))
    labels = (rng.random(n) < chance).astype(float)
    return labels, chance, np.arange(n) // 3


def kind(name: str):
    return calibrator_class(name)


def test_temperature_is_recovered() -> None:
    labels, chance, _ = lesions(20_000)
    found = kind("temperature").fit(labels, expit(logit(chance) * 2.5))
    assert found.temperature == pytest.approx(2.5, rel=0.05)
    assert found([0.5])[0] == 0.5


def test_a_line_in_logits_is_recovered_by_platt() -> None:
    labels, chance, _ = lesions(20_000)
    found = kind("platt").fit(labels, expit((logit(chance) + 2.0) / 0.6))
    assert (found.slope, found.intercept) == pytest.approx((0.6, -2.0), abs=0.08)


def test_platt_is_the_logistic_regression_of_its_targets() -> None:
    from sklearn.linear_model import LogisticRegression

    labels, chance, _ = lesions(400)
    targets = smoothed_targets(labels, np.ones(400))
    positives = labels.sum()
    assert set(targets) == {(positives + 1) / (positives + 2), 1 / (400 - positives + 2)}
    z = logit(chance)[:, None]
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        np.vstack([z, z]),
        np.repeat([1, 0], 400),
        sample_weight=np.concatenate([targets, 1 - targets]),
    )
    ours = kind("platt").fit(labels, chance)
    assert ours.slope == pytest.approx(theirs.coef_[0, 0], abs=1e-5)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], abs=1e-5)


def test_isotonic_recovers_a_map_that_no_line_can() -> None:
    labels, chance, _ = lesions(40_000)
    bent = np.where(chance < 0.2, chance * 0.1, 0.02 + (chance - 0.2) * 0.6)
    found = kind("isotonic").fit(labels, bent)
    assert np.abs(found(bent) - chance).mean() < 0.02
    line = kind("platt").fit(labels, bent)
    assert np.abs(line(bent) - chance).mean() > 2 * np.abs(found(bent) - chance).mean()


def test_isotonic_ties_and_ends_are_defined() -> None:
    labels, scores = [0, 1, 1, 0, 1], [0.2, 0.2, 0.6, 0.6, 0.9]
    found = kind("isotonic").fit(labels, scores)
    high, low = 4 / 5, 1 / 4  # smoothed targets of three malignant and two benign rows
    middle = (high + low) / 2
    assert found([0.2, 0.6, 0.9]) == pytest.approx([middle, middle, high])
    assert found([0.0, 1.0]) == pytest.approx([middle, high])
    assert found([0.75])[0] == pytest.approx((middle + high) / 2)  # half way between two knots


@pytest.mark.parametrize("name", ["temperature", "platt", "isotonic"])
def test_weights_are_repeated_rows(name: str) -> None:
    labels, chance, _ = lesions(300)
    weights = np.random.default_rng(1).integers(0, 4, 300)
    one = kind(name).fit(labels, chance, weights)
    other = kind(name).fit(np.repeat(labels, weights), np.repeat(chance, weights))
    assert one(chance) == pytest.approx(other(chance), abs=1e-6)


@pytest.mark.parametrize("name", ["none", "temperature", "platt", "isotonic"])
def test_maps_never_fall_and_keep_the_order_they_say_they_keep(name: str) -> None:
    labels, chance, _ = lesions(600)
    found = kind(name).fit(labels, chance)
    grid = found(np.r_[0.0, np.linspace(1e-9, 1 - 1e-9, 999), 1.0])
    assert (np.diff(grid) >= 0).all() and grid[0] >= 0 and grid[-1] <= 1
    if found.keeps_order:
        assert roc_auc(labels, found(chance)) == roc_auc(labels, chance)


def test_separable_and_reversed_scores_still_give_a_rising_map() -> None:
    labels = np.repeat([0.0, 1.0], 30)
    for scores in (labels * 0.8 + 0.1, 0.9 - labels * 0.8):
        for name in ("temperature", "platt"):
            low, high = kind(name).fit(labels, scores)([0.1, 0.9])
            assert 0 < low < high < 1


def test_scores_that_are_no_probabilities_are_refused() -> None:
    with pytest.raises(LesionError, match="not probabilities"):
        kind("platt").fit([0, 1], [-2.0, 3.0])
    with pytest.raises(UsageError, match="did you mean 'platt'"):
        kind("plat")


def test_prior_shift_is_exact_where_only_the_prevalence_differs() -> None:
    # Two classes with known densities: the posterior at another prevalence is known as well.
    x = np.linspace(-4, 6, 50)

    def posterior(prevalence: float):
        bad, good = np.exp(-((x - 2) ** 2) / 2), np.exp(-(x**2) / 2)
        return prevalence * bad / (prevalence * bad + (1 - prevalence) * good)

    assert shifted(posterior(0.3), 0.3, 0.001) == pytest.approx(posterior(0.001), abs=1e-12)
    assert prior_offset(1.0, 1.0) == 0
    with pytest.raises(LesionError, match=r"prevalence of 1\.5"):
        shifted([0.1], 0.3, 1.5)


def test_drift_is_told_with_both_numbers_and_only_where_it_is_clear() -> None:
    assert drift(np.full(199, 0.9), 0.1) is None
    assert drift(np.r_[np.full(250, 0.12), np.nan], 0.1) is None
    said = drift(np.full(250, 0.3), 0.1)
    assert said is not None and "30.00%" in said and "10.00%" in said and "250" in said
    assert far_apart(0.1, 0.2) and not far_apart(0.1, 0.12)


def test_flexible_maps_are_judged_on_rows_they_have_not_seen() -> None:
    labels, chance, groups = lesions(600, seed=3)
    found = choose(labels, chance, groups)
    assert found.fold is not None and found.held_out is not None
    # No group lies in two folds, and each row's probability comes from the other folds alone.
    for group in np.unique(groups):
        assert len(np.unique(found.fold[groups == group])) == 1
    for fold in np.unique(found.fold):
        inside = found.fold == fold
        alone = found.kind.fit(labels[~inside], chance[~inside])(chance[inside])
        assert np.array_equal(found.held_out[inside], alone)
    # In its own eyes isotonic is the best of all: that must not win.
    own = {k.name: row_losses(labels, k.fit(labels, chance)(chance)).mean() for k in calibrators()}
    assert min(own, key=own.__getitem__) == "isotonic"
    assert found.kind.name != "isotonic"


def test_labels_of_a_fold_cannot_reach_its_own_probabilities() -> None:
    labels, chance, groups = lesions(600)
    fold = make_folds(labels, groups)
    changed = np.where(fold == 0, 1 - labels, labels)
    for name in ("temperature", "platt", "isotonic"):
        one, other = (cross_fitted(kind(name), y, chance, fold) for y in (labels, changed))
        assert np.array_equal(one[fold == 0], other[fold == 0])
        assert not np.array_equal(one[fold != 0], other[fold != 0])


@pytest.mark.parametrize(
    ("distorted", "names"),
    [
        (lambda p: expit(logit(p) * 3), {"temperature", "platt"}),  # both can undo it
        (lambda p: expit(logit(p) + 2), {"platt"}),
        (lambda p: np.where(p < 0.3, p * 0.05, 0.1 + p * 0.2), {"isotonic"}),
    ],
)
def test_the_map_that_a_distortion_needs_is_chosen(distorted, names: set[str]) -> None:
    labels, chance, groups = lesions(9000)
    assert choose(labels, distorted(chance), groups).kind.name in names


def test_a_map_that_ties_scores_must_be_better_by_more_than_its_error() -> None:
    gained = []
    for seed in range(12):
        labels, chance, groups = lesions(900, seed)
        bent = np.where(chance < 0.3, chance * 0.6, 0.18 + (chance - 0.3))
        found = choose(labels, bent, groups)
        behind = found.losses["isotonic"]["behind"]
        if found.kind.name != "isotonic":
            gained.append(-behind / found.losses["isotonic"]["error"])
    assert len(gained) > 0 and max(gained) < 1


def test_few_cases_get_a_simpler_map_and_a_note() -> None:
    rng = np.random.default_rng(0)
    labels = np.r_[np.ones(12), np.zeros(300)]
    scores = expit(3 * labels - 2 + rng.normal(size=312))
    found = choose(labels, scores, np.arange(312))
    assert set(found.losses) == {"none", "temperature"}
    assert "12 cases" in found.notes[0] and "platt 20" in found.notes[0]
    # Twelve images of one patient are one case: nothing can be held out.
    alone = choose(labels, scores, np.r_[np.zeros(12), np.arange(1, 301)])
    assert alone.kind.name == "none" and alone.held_out is None
    forced = choose(labels, scores, np.arange(312), "isotonic")
    assert forced.kind.name == "isotonic" and "wants 100 cases" in forced.notes[0]


def test_the_error_of_a_mean_counts_groups_not_rows() -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=50), 20)
    mean, error = mean_by_group(values, np.repeat(np.arange(50), 20))
    once, right = mean_by_group(values[::20], np.arange(50))
    assert (mean, error) == pytest.approx((once, right))
    assert right == pytest.approx(values[::20].std(ddof=1) / math.sqrt(50))


def test_the_band_covers_the_truth_and_narrows_with_cases() -> None:
    widths = []
    for n in (400, 6400):
        labels, chance, groups = lesions(n)
        score = expit(logit(chance) * 2)
        band = fit_band(kind("platt"), labels, score, groups, refits=100)
        low, high = band.ends(score, kind("platt").fit(labels, score)(score))
        assert ((low <= chance) & (chance <= high)).mean() > 0.9
        widths.append((high - low).mean())
    assert widths[1] < widths[0] / 2
    assert fit_band(kind("none"), labels, score, groups) is None


@pytest.fixture(scope="module", params=["none", "temperature", "platt", "isotonic"])
def fitted(request) -> Calibration:
    labels, chance, groups = lesions(900)
    return fit_calibration(
        labels, expit(logit(chance) * 2 + 1), groups, **SAID, method=request.param, resamples=50
    )


def test_a_file_brings_everything_back_bit_for_bit(fitted: Calibration, tmp_path) -> None:
    write_calibration(tmp_path / "c.json", fitted)
    again = read_calibration(tmp_path / "c.json")
    assert json.dumps(again.to_dict()) == json.dumps(fitted.to_dict())
    scores = np.r_[0.0, np.random.default_rng(5).random(500), 1.0]
    one, other = fitted.apply(scores), again.apply(scores)
    for name, values in vars(one).items():
        given = vars(other)[name]
        assert (
            values.tobytes() == given.tobytes() if values.dtype != object else all(values == given)
        )
    write_calibration(tmp_path / "d.json", again)
    assert (tmp_path / "c.json").read_bytes() == (tmp_path / "d.json").read_bytes()


def test_one_score_is_as_in_a_table(fitted: Calibration) -> None:
    table, one = fitted.apply([0.1, 0.7]), fitted.apply_one(0.7)
    assert (one.malignant, one.flagged) == (table.malignant[1], bool(table.flagged[1]))
    assert one.prediction_set == table.prediction_set[1]
    assert math.isnan(one.low) == (fitted.method.name == "none")
    assert fitted.method.name == "none" or one.low <= one.malignant <= one.high


def test_another_prevalence_moves_probabilities_and_no_decision(fitted: Calibration) -> None:
    scores = np.random.default_rng(5).random(300)
    here, there = fitted.apply(scores), fitted.at(0.01).apply(scores)
    assert (there.malignant < here.malignant).all()
    assert np.array_equal(here.flagged, there.flagged)
    assert np.array_equal(here.prediction_set, there.prediction_set)
    assert fitted.at(None) is fitted
    assert there.malignant[there.flagged].min() >= fitted.at(0.01).threshold - 1e-12
    assert "1.00%" in "\n".join(statement(fitted.at(0.01)))


def test_the_words_state_threshold_sensitivity_set_and_prevalence(fitted: Calibration) -> None:
    text = "\n".join(statement(fitted))
    on = fitted.fitted_on
    for part in ("a set", "900 images", f"prevalence {on.prevalence:.2%}", "sensitivity of 90%",
                 f"flagged from {fitted.threshold:.4f}"):  # fmt: skip
        assert part in text
    table = "\n".join(evidence_lines(fitted))
    assert "<- used" in table and "coverage, held out" in table and "decided" in table


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1, 2], "holds no calibration"),
        ({"schema_version": 99}, "schema version 99"),
        ({"schema_version": 1, "method": "platt"}, "no whole calibration"),
    ],
)
def test_other_files_are_refused(tmp_path, values, said: str) -> None:
    (tmp_path / "c.json").write_text(json.dumps(values))
    with pytest.raises(LesionError, match=said):
        read_calibration(tmp_path / "c.json")


def test_one_class_alone_changes_nothing_and_says_so() -> None:
    found = fit_calibration(np.zeros(30), np.full(30, 0.2), np.arange(30), **SAID)
    assert found.method.name == "none" and found.operating_point is None
    assert found.apply([0.2]).flagged[0] is None
    assert any("one class has no row" in note for note in found.notes)
    assert "nothing is flagged" in "\n".join(statement(found))
