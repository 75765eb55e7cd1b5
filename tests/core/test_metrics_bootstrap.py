"""Bootstrap intervals: whole groups, documented strata, paired differences, enough speed."""

from __future__ import annotations

import time

import numpy as np
import pytest

from lesioncore.errors import LesionError
from lesioncore.metrics import (
    Interval,
    average_precision,
    bootstrap,
    mean,
    paired_bootstrap,
    partial_auc,
    positive_strata,
    resamples,
    roc_auc,
)


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(5)
    y = (generator.random(600) < 0.2).astype(int)
    return y, generator.normal(size=600) + 1.2 * y, np.arange(600) // 3


def test_interval_holds_the_value_and_repeats(data):
    y, s, groups = data
    first = bootstrap(roc_auc, y, s, groups=groups, n=300, seed=1)
    assert first.low < first.value < first.high
    assert first == bootstrap(roc_auc, y, s, groups=groups, n=300, seed=1)
    assert first != bootstrap(roc_auc, y, s, groups=groups, n=300, seed=2)
    assert first.value == roc_auc(y, s)


def test_the_fast_path_equals_repeating_rows(data):
    y, s, groups = data

    def plain(labels, scores):
        return roc_auc(labels, scores)

    fast = resamples(roc_auc, y, s, groups=groups, n=40)
    assert fast == pytest.approx(resamples(plain, y, s, groups=groups, n=40), abs=1e-12)


def test_copies_within_a_group_do_not_narrow_the_interval(data):
    y, s, _ = data
    rows = np.repeat(np.arange(600), 8)
    by_group = bootstrap(roc_auc, y[rows], s[rows], groups=rows, n=400)
    by_row = bootstrap(roc_auc, y[rows], s[rows], n=400)
    alone = bootstrap(roc_auc, y, s, n=400)
    width = by_group.high - by_group.low
    assert width == pytest.approx(alone.high - alone.low, rel=0.25)
    assert by_row.high - by_row.low < 0.6 * width


def test_interval_of_a_mean_is_the_known_one():
    values = np.random.default_rng(0).normal(3.0, 2.0, size=900)
    interval = bootstrap(mean, values, n=2000)
    half = 1.96 * values.std() / 30
    assert interval.low == pytest.approx(values.mean() - half, abs=0.02)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.02)


def test_strata_keep_the_rare_class_in_every_resample():
    y = np.zeros(200)
    y[:3] = 1
    s = np.linspace(1, 0, 200)
    assert np.isnan(resamples(roc_auc, y, s, n=300)).any()
    strata = positive_strata(y)
    assert not np.isnan(resamples(roc_auc, y, s, strata=strata, n=300)).any()
    counts = resamples(lambda labels: labels.sum(), y, strata=strata, n=20)
    assert (counts == 3).all()


def test_strata_are_those_of_whole_groups():
    y, groups = np.array([0, 1, 0, 0]), np.array(["a", "a", "b", "b"])
    assert positive_strata(y, groups).tolist() == [1, 1, 0, 0]
    with pytest.raises(LesionError, match="two strata"):
        resamples(mean, y, groups=groups, strata=y)


def test_undefined_is_nan_and_null():
    y, s = np.zeros(5), np.arange(5.0)
    interval = bootstrap(roc_auc, y, s, n=20)
    assert interval.to_dict() == {"value": None, "low": None, "high": None}
    one_group = bootstrap(mean, np.arange(4.0), groups=["a"] * 4, n=20)
    assert one_group.to_dict() == {"value": 1.5, "low": None, "high": None}
    assert np.isnan(Interval.of(0.5, np.array([0.5, np.nan, np.nan])).low)
    assert np.isnan(bootstrap(mean, np.zeros(0), n=5).value)


def test_paired_difference_is_narrower_than_the_two_apart(data):
    y, s, groups = data
    other = s + np.random.default_rng(9).normal(scale=0.05, size=len(s))
    paired = paired_bootstrap(roc_auc, y, s, other, groups, n=400)
    alone = bootstrap(roc_auc, y, s, groups=groups, n=400)
    assert paired.value == pytest.approx(roc_auc(y, s) - roc_auc(y, other))
    assert paired.low <= paired.value <= paired.high
    assert paired.high - paired.low < 0.3 * (alone.high - alone.low)
    same = paired_bootstrap(partial_auc, y, s, s, groups, n=50)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_a_thousand_resamples_of_three_thousand_rows_take_seconds():
    generator = np.random.default_rng(2)
    y = (generator.random(3000) < 0.3).astype(int)
    s, groups = generator.normal(size=3000) + y, generator.integers(0, 900, size=3000)
    start = time.perf_counter()
    for metric in (roc_auc, average_precision, partial_auc):
        bootstrap(metric, y, s, groups=groups, n=1000)
    assert time.perf_counter() - start < 15  # about one second alone on one core


def test_arrays_of_two_lengths_are_refused():
    with pytest.raises(LesionError, match="one length"):
        resamples(roc_auc, np.zeros(3), np.zeros(4))
    with pytest.raises(LesionError, match="2 groups for 3 rows"):
        bootstrap(mean, np.zeros(3), groups=["a", "b"])
