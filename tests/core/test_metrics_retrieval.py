"""Top-k retrieval sensitivity is that of the ISIC 2024 prize: each patient weighs alike."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lesioncore.metrics import top_k_sensitivity


def by_the_official_steps(y, s, patients, k=15):
    """What the organisers' script computes, in its own steps: mean over patients, and pooled."""
    table = pd.DataFrame({"y": y, "s": s, "patient": patients})
    ill = table.groupby("patient")["y"].transform("sum")
    table = table[ill > 0]
    fraction = table["y"] / ill[ill > 0]
    top = table.groupby("patient", group_keys=False)["s"].nlargest(k).index.get_level_values(-1)
    mean = fraction.loc[top].sum() / table["patient"].nunique()
    return mean, table.loc[top, "y"].sum() / table["y"].sum()


@pytest.mark.parametrize("k", [1, 3, 15])
def test_it_equals_the_official_steps(k):
    generator = np.random.default_rng(3)
    patients = generator.integers(0, 40, size=900)
    y = (generator.random(900) < 0.04 + 0.1 * (patients < 5)).astype(int)
    s = generator.normal(size=900) + y
    mean, pooled = by_the_official_steps(y, s, patients, k)
    assert mean != pytest.approx(pooled, abs=1e-3)
    assert top_k_sensitivity(y, s, patients, k) == pytest.approx(mean, abs=1e-12)
    assert top_k_sensitivity(y, s, patients, k, pooled=True) == pytest.approx(pooled, abs=1e-12)


def test_ranks_are_within_each_patient():
    patients = ["a"] * 20 + ["b"] * 3
    y = np.zeros(23)
    s = np.r_[np.linspace(1, 0, 20), 0.01, 0.02, 0.03]
    y[[0, 14, 15]] = 1  # places 1, 15 and 16 of patient a
    y[20] = 1  # the lowest of b, who has only three
    assert top_k_sensitivity(y, s, patients) == pytest.approx((2 / 3 + 1) / 2)
    assert top_k_sensitivity(y, s, patients, pooled=True) == 0.75
    assert top_k_sensitivity(y, s, patients, k=1) == pytest.approx(1 / 6)
    shuffled = np.random.default_rng(0).permutation(23)
    again = top_k_sensitivity(y[shuffled], s[shuffled], np.array(patients)[shuffled], k=15)
    assert again == pytest.approx((2 / 3 + 1) / 2)


def test_ties_are_shared_by_chance():
    y = np.array([1, 0, 0, 0])
    assert top_k_sensitivity(y, np.zeros(4), ["a"] * 4, k=1) == 0.25
    assert top_k_sensitivity(y, np.zeros(4), ["a"] * 4, k=4) == 1.0
    assert np.isnan(top_k_sensitivity(np.zeros(4), np.zeros(4), ["a"] * 4))
    assert np.isnan(top_k_sensitivity([], [], []))


def test_weights_count_as_more_patients():
    y, s = np.array([1, 0, 1, 0]), np.array([0.9, 0.1, 0.2, 0.8])
    patients = np.array(["a", "a", "b", "b"])
    weights = np.array([[1, 3], [1, 3], [1, 1], [1, 1]])
    assert top_k_sensitivity(y, s, patients, k=1, weights=weights) == pytest.approx([0.5, 0.75])
