"""Number needed to biopsy, net benefit and the calibration line equal their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit

from lesioncore.errors import LesionError
from lesioncore.metrics import (
    DECISION_THRESHOLDS,
    calibration_line,
    net_benefit,
    number_needed_to_biopsy,
    threshold_for,
    treat_all,
)


def drawn(n=800, rate=0.2, seed=0):
    generator = np.random.default_rng(seed)
    y = (generator.random(n) < rate).astype(int)
    return y, np.round(expit(generator.normal(size=n) + 2 * y - 2), 2)


def test_number_needed_to_biopsy_by_hand():
    y = [1, 1, 0, 1, 0, 0, 1, 0, 0, 1]
    s = [0.9, 0.8, 0.7, 0.6, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert number_needed_to_biopsy(y, s, 0.4) == 1.0  # the two highest, both malignant
    assert number_needed_to_biopsy(y, s, 0.6) == pytest.approx(5 / 3)  # the tie at 0.6 comes whole
    assert number_needed_to_biopsy(y, s, 0.8) == pytest.approx(7 / 4)
    assert number_needed_to_biopsy(y, s, 1.0) == 2.0
    assert np.isnan(number_needed_to_biopsy([0, 0], [0.1, 0.2]))
    assert np.isnan(number_needed_to_biopsy([], []))


@pytest.mark.parametrize("sensitivity", [0.5, 0.8, 0.9, 1.0])
def test_number_needed_to_biopsy_is_that_of_the_threshold(sensitivity):
    y, s = drawn()
    called = s >= threshold_for(y, s, sensitivity)
    expected = called.sum() / y[called].sum()
    assert number_needed_to_biopsy(y, s, sensitivity) == pytest.approx(expected, abs=1e-12)


def test_net_benefit_equals_its_definition():
    y, p = drawn()
    expected = [
        np.mean((p >= t) & (y == 1)) - np.mean((p >= t) & (y == 0)) * t / (1 - t)
        for t in DECISION_THRESHOLDS
    ]
    assert net_benefit(y, p) == pytest.approx(expected, abs=1e-12)
    assert net_benefit(y, p, [0.3, 0.05]) == pytest.approx(
        [expected[DECISION_THRESHOLDS.index(t)] for t in (0.3, 0.05)]
    )


def test_net_benefit_of_all_and_of_perfection():
    y, _ = drawn()
    assert net_benefit(y, np.ones(len(y))) == pytest.approx(treat_all(y.mean()))
    assert net_benefit(y, y) == pytest.approx(np.full(len(DECISION_THRESHOLDS), y.mean()))
    assert net_benefit(y, np.zeros(len(y))) == pytest.approx(np.zeros(len(DECISION_THRESHOLDS)))
    assert treat_all(0.2, [0.2]) == pytest.approx([0.0])


def test_weights_count_as_repeated_rows():
    y, p = drawn(60)
    weights = np.random.default_rng(1).integers(0, 4, size=(60, 5))
    benefit = net_benefit(y, p, [0.1, 0.25, 0.4], weights=weights)
    needed = number_needed_to_biopsy(y, p, 0.8, weights=weights)
    assert benefit.shape == (3, 5)
    for b in range(5):
        rows = np.repeat(np.arange(60), weights[:, b])
        assert benefit[:, b] == pytest.approx(net_benefit(y[rows], p[rows], [0.1, 0.25, 0.4]))
        assert needed[b] == pytest.approx(number_needed_to_biopsy(y[rows], p[rows], 0.8))


def test_thresholds_and_probabilities_are_checked():
    with pytest.raises(LesionError, match=r"thresholds from 0 to 0\.5"):
        net_benefit([0, 1], [0.1, 0.2], [0.0, 0.5])
    with pytest.raises(LesionError, match="not probabilities"):
        net_benefit([0, 1], [0.1, 2.0])
    assert np.isnan(net_benefit([], [], [0.5])).all()
    assert all(np.diff(DECISION_THRESHOLDS) > 0)


def test_the_calibration_line_equals_the_likelihood_s_highest_point():
    y, p = drawn()
    logits = logit(np.clip(p, 1e-6, 1 - 1e-6))

    def loss(line):
        z = line[0] + line[1] * logits
        return np.sum(np.logaddexp(0, z) - y * z)

    both = minimize(loss, [0.0, 1.0], method="BFGS", options={"gtol": 1e-7})
    alone = minimize(lambda a: loss([a[0], 1.0]), [0.0], method="BFGS", options={"gtol": 1e-7})
    found = calibration_line(y, p)
    assert found.slope.value == pytest.approx(both.x[1], abs=1e-5)
    assert found.intercept.value == pytest.approx(alone.x[0], abs=1e-5)
    design = np.c_[np.ones(len(y)), logits]
    chance = expit(design @ both.x)
    variance = np.linalg.inv(design.T @ (design * (chance * (1 - chance))[:, None]))[1, 1]
    half = (found.slope.high - found.slope.low) / 2
    assert half == pytest.approx(1.96 * np.sqrt(variance), rel=0.15)


def test_the_calibration_line_of_what_was_distorted():
    generator = np.random.default_rng(5)
    z = generator.normal(-1, 1.5, size=20_000)
    y = (generator.random(20_000) < expit(z)).astype(int)
    right = calibration_line(y, expit(z))
    assert right.intercept.low < 0 < right.intercept.high
    assert right.slope.low < 1 < right.slope.high
    bold = calibration_line(y, expit(2 * z + 1))
    assert bold.slope.value == pytest.approx(right.slope.value / 2, abs=1e-3)
    assert bold.intercept.value < -0.3
    rows = np.repeat(np.arange(2_000), 4)
    by_row = calibration_line(y[rows], expit(z)[rows]).slope
    by_group = calibration_line(y[rows], expit(z)[rows], groups=rows).slope
    assert by_group.high - by_group.low == pytest.approx(2 * (by_row.high - by_row.low), rel=0.02)


def test_a_calibration_line_that_is_not_there_is_nan():
    assert np.isnan(calibration_line([0, 0], [0.1, 0.2]).slope.value)
    flat = calibration_line([0, 1, 0, 0], np.full(4, 0.5))
    assert np.isnan(flat.slope.value)
    assert flat.intercept.value == pytest.approx(logit(0.25))
    separated = calibration_line([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    assert np.isnan(separated.slope.value)
    assert np.isfinite(calibration_line([0, 1, 0, 1], [0.0, 1.0, 1.0, 0.0]).intercept.value)
