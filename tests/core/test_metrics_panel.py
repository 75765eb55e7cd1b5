"""A panel gives what each metric gives alone, on the resamples that each would draw."""

from __future__ import annotations

import time

import numpy as np
import pytest

from lesioncore.metrics import (
    Panel,
    average_precision,
    brier,
    ece,
    net_benefit,
    number_needed_to_biopsy,
    partial_auc,
    resampled,
    resamples,
    roc_auc,
    sensitivity_at,
    specificity_at,
    top_k_sensitivity,
)


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(4)
    patients = generator.integers(0, 60, size=500)
    y = (generator.random(500) < 0.15).astype(int)
    s = np.round(1 / (1 + np.exp(-(generator.normal(size=500) + 2 * y - 1))), 2)
    return y, s, patients


def alone(y, s, patients):
    """Each score by its own function, of labels, scores and patients and the weights."""
    return {
        "auc": (roc_auc, (y, s)),
        "pauc": (lambda y, s, weights=None: partial_auc(y, s, 0.7, weights=weights), (y, s)),
        "average_precision": (average_precision, (y, s)),
        "sensitivity_at_specificity_90": (sensitivity_at, (y, s)),
        "specificity_at_sensitivity_90": (specificity_at, (y, s)),
        "number_needed_to_biopsy_80": (number_needed_to_biopsy, (y, s)),
        "brier": (brier, (y, s)),
        "ece": (ece, (y, s)),
        "top15_sensitivity": (top_k_sensitivity, (y, s, patients)),
    }


def test_values_and_draws_are_those_of_each_metric(data):
    panel = Panel(*data, min_tpr=0.7)
    values = panel.numbers()
    draws = resampled({"one": panel}, data[2], n=30, seed=2)["one"]
    for name, (metric, arrays) in alone(*data).items():
        assert values[name][0] == pytest.approx(float(metric(*arrays)), abs=1e-12), name
        expected = resamples(metric, *arrays, groups=data[2], n=30, seed=2)
        assert draws[name] == pytest.approx(expected, abs=1e-12, nan_ok=True), name
    assert values["net_benefit"][:, 0] == pytest.approx(net_benefit(*data[:2]), abs=1e-12)
    assert draws["net_benefit"].shape == (len(values["net_benefit"]), 30)


def test_scores_that_are_no_probabilities_lose_only_what_wants_them(data):
    y, s, _ = data
    panel = Panel(y, 7 * s - 3)
    assert set(panel.reasons) == {"brier", "ece", "net_benefit"}
    assert "not probabilities" in panel.reasons["ece"]
    values = panel.numbers()
    assert set(values) & set(panel.reasons) == set()
    assert values["auc"][0] == pytest.approx(roc_auc(y, s))
    assert "top15_sensitivity" not in values


def test_a_ratio_of_one_s_own(data):
    y, s, patients = data
    called = (s >= 0.5).astype(float)
    panel = Panel(y, s, ratios={"called": (called * y, y.astype(float))})
    assert panel.numbers()["called"][0] == pytest.approx(called[y == 1].mean())
    draws = resampled({"a": panel}, patients, n=50)["a"]["called"]
    assert draws.min() < called[y == 1].mean() < draws.max()


def test_one_group_has_no_interval_and_one_class_no_value(data):
    y, s, _ = data
    assert np.isnan(resampled({"a": Panel(y, s)}, ["x"] * len(y), n=3)["a"]["auc"]).all()
    values = Panel(np.zeros(4), [0.1, 0.2, 0.3, 0.4]).numbers()
    assert np.isnan(values["auc"][0])
    assert values["brier"][0] == pytest.approx(0.075)


def test_four_models_of_twenty_eight_thousand_rows_take_seconds():
    generator = np.random.default_rng(0)
    y = np.zeros(28_000)
    y[:27] = 1
    panels = {k: Panel(y, generator.random(28_000)) for k in range(4)}
    start = time.process_time()
    resampled(panels, n=1000)
    assert time.process_time() - start < 10  # about two seconds alone
