"""DeLong's test equals published values, the definition, and by patient the clustered variance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from lesioncore.metrics import auc_covariance, auc_test, resamples, roc_auc

# 43 of the patients of DeLong, DeLong & Clarke-Pearson (Biometrics 1988), as printed in the manual
# of SAS/STAT (PROC LOGISTIC, "Comparing Receiver Operating Characteristic Curves"): albumin, total
# protein, K-G score, and whether surgery helped.
OVARIAN = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0
1.6 5.6 5 1  3.8 5.7 5 1  3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1
4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1
3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1
3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1
3.5 6.2 5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1
3.6 6.6 5 1
"""


@pytest.fixture(scope="module")
def ovarian():
    table = np.array(OVARIAN.split(), dtype=float).reshape(-1, 4)
    return table[:, 3], table[:, 0], table[:, 1], 10 - table[:, 2]


def by_definition(y, *scores):
    """AUCs and covariance from the m n comparisons, as the paper of 1988 writes them."""
    y = np.asarray(y)
    above, below = [], []
    for s in np.asarray(scores, dtype=float):
        pairs = np.greater.outer(s[y == 1], s[y == 0]) + 0.5 * np.equal.outer(s[y == 1], s[y == 0])
        above.append(pairs.mean(axis=1))
        below.append(pairs.mean(axis=0))
    m, n = len(above[0]), len(below[0])
    return np.mean(above, axis=1), np.cov(above) / m + np.cov(below) / n


def test_the_example_of_the_paper_equals_sas(ovarian):
    y, albumin, protein, score = ovarian
    areas, covariance = auc_covariance(y, [albumin, protein, score])
    assert areas == pytest.approx([0.7366, 0.6478, 0.7258], abs=5e-5)
    assert np.sqrt(np.diag(covariance)) == pytest.approx([0.0927, 0.1000, 0.1028], abs=5e-5)
    found = auc_test(y, albumin, score)
    printed = (0.0108, 0.0953, -0.1761, 0.1976, 0.0127, 0.9102)
    assert (found.value, found.se, found.low, found.high, found.z**2, found.p) == pytest.approx(
        printed, abs=5e-5
    )
    found = auc_test(y, protein, score)
    printed = (-0.0780, 0.1046, -0.2830, 0.1271, 0.5554, 0.4561)
    assert (found.value, found.se, found.low, found.high, found.z**2, found.p) == pytest.approx(
        printed, abs=6e-5
    )


def test_the_example_of_the_fast_algorithm():
    """Nine scores by hand: 16 of 20 pairs in order; variances 0.075 of positives, 0.05 of the rest.

    Positives 0.32, 0.92, 0.79, 0.99 lie above 2, 5, 4 and 5 of the five negatives: their shares
    0.4, 1, 0.8, 1 have a variance of 0.08, over 4 is 0.02. Negatives 0.21, 0.63, 0.35, 0.82, 0.04
    lie below 4, 3, 3, 2 and 4 of the four positives: 1, 0.75, 0.75, 0.5, 1 have a variance of
    0.04375, over 5 is 0.00875. The sum is 0.02875, which the reference implementation of Sun & Xu
    gives as well.
    """
    y = [0, 1, 0, 0, 1, 1, 0, 1, 0]
    s = [0.21, 0.32, 0.63, 0.35, 0.92, 0.79, 0.82, 0.99, 0.04]
    areas, covariance = auc_covariance(y, s)
    assert areas[0] == pytest.approx(0.8, abs=1e-12)
    assert covariance[0, 0] == pytest.approx(0.02875, abs=1e-12)


@pytest.mark.parametrize("levels", [3, 12, None])
def test_it_equals_the_definition_with_ties(levels):
    generator = np.random.default_rng(8)
    for n, rate in ((12, 0.5), (60, 0.1), (400, 0.3)):
        y = (generator.random(n) < rate).astype(int)
        y[:2], y[2:4] = 1, 0
        s = generator.normal(size=(3, n)) + y
        s = np.round(s * levels / 4) / levels if levels else s
        areas, covariance = auc_covariance(y, s)
        expected, expected_covariance = by_definition(y, *s)
        assert areas == pytest.approx(expected, abs=1e-12)
        assert covariance == pytest.approx(expected_covariance, abs=1e-12)
        assert areas[0] == pytest.approx(roc_auc(y, s[0]), abs=1e-12)
        found = auc_test(y, s[0], s[1])
        contrast = np.array([1, -1, 0])
        se = np.sqrt(contrast @ expected_covariance @ contrast)
        assert found.p == pytest.approx(2 * norm.sf(abs(expected[0] - expected[1]) / se), abs=1e-9)


def test_groups_of_one_row_are_delong_and_copies_tell_nothing_new():
    generator = np.random.default_rng(1)
    y = (generator.random(150) < 0.3).astype(int)
    a, b = generator.normal(size=(2, 150)) + y
    alone = auc_test(y, a, b)
    apart = auc_test(y, a, b, groups=np.arange(150))
    assert (apart.value, apart.se, apart.p) == pytest.approx((alone.value, alone.se, alone.p))
    rows = np.repeat(np.arange(150), 6)
    by_row = auc_test(y[rows], a[rows], b[rows])
    by_group = auc_test(y[rows], a[rows], b[rows], groups=rows)
    assert by_group.value == pytest.approx(alone.value, abs=1e-12)
    assert by_group.se == pytest.approx(alone.se, rel=0.02)
    assert by_row.se < 0.5 * alone.se


def test_by_patient_it_agrees_with_the_bootstrap_by_patient():
    generator = np.random.default_rng(2)
    patients = generator.integers(0, 120, size=1200)
    shift = generator.normal(size=120)[patients]
    y = (generator.random(1200) < np.where(patients % 3 == 0, 0.6, 0.05)).astype(int)
    a = generator.normal(size=1200) + y + 1.5 * shift
    b = generator.normal(size=1200) + y
    drawn = resamples(roc_auc, y, a, groups=patients, n=400)
    drawn -= resamples(roc_auc, y, b, groups=patients, n=400)
    found = auc_test(y, a, b, patients)
    assert found.se == pytest.approx(drawn.std(), rel=0.15)
    assert found.se > 1.3 * auc_test(y, a, b).se


def test_what_is_not_defined_is_nan_and_equal_scores_are_equal():
    y, s = np.array([0, 1, 0, 1, 1]), np.array([0.1, 0.4, 0.5, 0.3, 0.9])
    same = auc_test(y, s, 3 * s)
    assert (same.value, same.z, same.p) == (0, 0, 1)
    apart = auc_test(y, y, 1 - y)
    assert (apart.value, apart.se) == (1, 0)
    assert np.isnan(apart.p)
    assert np.isnan(auc_test(np.zeros(5), s, s).value)
    one_positive = auc_test([0, 0, 1], [0.1, 0.2, 0.3], [0.1, 0.4, 0.3])
    assert one_positive.value == 0.5
    assert one_positive.to_dict()["p"] is None
