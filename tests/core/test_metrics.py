"""Ranking and calibration metrics agree with independent implementations, ties and all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesioncore.errors import LesionError
from lesioncore.metrics import (
    average_precision,
    brier,
    ece,
    partial_auc,
    reliability_curve,
    roc_auc,
    roc_curve,
    sensitivity_at,
    specificity_at,
    threshold_for,
)


def official_isic2024(y, s, min_tpr=0.8):
    """The competition's metric, as its definition says: flip, then take the area at low FPR."""
    from sklearn.metrics import roc_auc_score

    flipped, scores = np.abs(np.asarray(y) - 1), -np.asarray(s)
    max_fpr = abs(1 - min_tpr)
    scaled = roc_auc_score(flipped, scores, max_fpr=max_fpr)  # McClish: 0.5 is chance, 1 perfect
    chance = 0.5 * max_fpr**2
    return chance + (max_fpr - chance) / (1.0 - 0.5) * (scaled - 0.5)


def cases():
    generator = np.random.default_rng(7)
    for n in (2, 5, 17, 200, 1500):
        for levels in (2, 6, None):
            for rate in (0.05, 0.5):
                y = (generator.random(n) < rate).astype(int)
                y[0], y[-1] = 1, 0
                s = generator.normal(size=n) + y
                if levels:
                    s = np.round(s * levels / 4) / levels  # many ties
                yield y, s


def test_areas_equal_scikit_learn_with_ties():
    from sklearn import metrics as sk

    for y, s in cases():
        assert roc_auc(y, s) == pytest.approx(sk.roc_auc_score(y, s), abs=1e-12)
        assert average_precision(y, s) == pytest.approx(sk.average_precision_score(y, s), abs=1e-12)


@pytest.mark.parametrize("min_tpr", [0.8, 0.88, 0.5, 0.01])
def test_partial_auc_equals_the_official_definition(min_tpr):
    for y, s in cases():
        expected = official_isic2024(y, s, min_tpr)
        assert partial_auc(y, s, min_tpr) == pytest.approx(expected, abs=1e-9)


def test_partial_auc_bounds():
    y = np.array([0] * 50 + [1] * 10)
    assert partial_auc(y, y) == pytest.approx(0.2, abs=1e-12)
    assert partial_auc(y, -y) == pytest.approx(0.0, abs=1e-12)
    assert partial_auc(y, np.zeros(60)) == pytest.approx(0.02, abs=1e-12)
    assert partial_auc(y, np.arange(60) % 7, min_tpr=0.0) == pytest.approx(
        roc_auc(y, np.arange(60) % 7)
    )
    with pytest.raises(LesionError, match="min_tpr"):
        partial_auc(y, y, min_tpr=1.0)


@pytest.mark.real_data
def test_partial_auc_equals_the_official_definition_on_real_predictions(real_data: Path):
    import pandas as pd
    from sklearn.metrics import average_precision_score, roc_auc_score

    folder = real_data / "isic2024_slice3d_sample"
    table = pd.read_csv(folder / "third_party_predictions_4models.csv")
    y = table["label"].to_numpy()
    for column in [name for name in table if name.startswith("prob_")]:
        s = table[column].to_numpy()
        assert partial_auc(y, s) == pytest.approx(official_isic2024(y, s), abs=1e-9)
        assert roc_auc(y, s) == pytest.approx(roc_auc_score(y, s), abs=1e-9)
        assert average_precision(y, s) == pytest.approx(average_precision_score(y, s), abs=1e-9)


def test_weights_count_as_repeated_rows():
    generator = np.random.default_rng(3)
    y = np.array([1, 0, 0, 1, 0, 1, 0, 0, 0, 1])
    s = np.round(generator.random(10), 1)
    weights = generator.integers(0, 4, size=(10, 6))
    weights[:2] = np.maximum(weights[:2], 1)
    metrics = (roc_auc, partial_auc, average_precision, sensitivity_at, specificity_at, brier, ece)
    for metric in metrics:
        together = metric(y, s, weights=weights)
        assert together.shape == (6,)
        for b in range(6):
            rows = np.repeat(np.arange(10), weights[:, b])
            assert together[b] == pytest.approx(metric(y[rows], s[rows]), abs=1e-12)


def test_one_class_is_nan_and_no_rows_is_nan():
    s = np.array([0.1, 0.5, 0.9])
    for y in ([0, 0, 0], [1, 1, 1]):
        for metric in (roc_auc, partial_auc, sensitivity_at, specificity_at):
            assert np.isnan(metric(y, s))
    assert np.isnan(average_precision([0, 0, 0], s))
    assert average_precision([1, 1, 1], s) == 1.0
    assert np.isnan(threshold_for([0, 0, 0], s))
    for metric in (roc_auc, partial_auc, average_precision, brier, ece, sensitivity_at):
        assert np.isnan(metric([], []))


def test_labels_and_scores_are_checked():
    with pytest.raises(LesionError, match="neither 0 nor 1"):
        roc_auc([0, 2], [0.1, 0.2])
    with pytest.raises(LesionError, match="2 labels and 3 scores"):
        roc_auc([0, 1], [0.1, 0.2, 0.3])
    with pytest.raises(LesionError, match="not a number"):
        roc_auc([0, 1], [0.1, np.nan])
    with pytest.raises(LesionError, match="not probabilities"):
        brier([0, 1], [-3.0, 2.0])


def test_roc_curve_equals_scikit_learn():
    from sklearn.metrics import auc
    from sklearn.metrics import roc_curve as sk_roc_curve

    for y, s in cases():
        fpr, tpr, thresholds = roc_curve(y, s)
        assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
        assert thresholds[0] == np.inf
        assert auc(fpr, tpr) == pytest.approx(roc_auc(y, s), abs=1e-12)
        full_fpr, full_tpr, full_thresholds = sk_roc_curve(y, s, drop_intermediate=False)
        known = dict(zip(full_thresholds, zip(full_fpr, full_tpr, strict=True), strict=True))
        for f, t, threshold in zip(fpr, tpr, thresholds, strict=True):
            assert known[threshold] == pytest.approx((f, t))


def test_operating_points():
    y = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0])
    s = np.array([0.9, 0.8, 0.4, 0.3, 0.7, 0.2, 0.1, 0.1, 0.0])
    assert sensitivity_at(y, s, specificity=1.0) == 0.5
    assert sensitivity_at(y, s, specificity=0.8) == 1.0
    assert specificity_at(y, s, sensitivity=0.5) == 1.0
    assert specificity_at(y, s, sensitivity=0.75) == 0.8
    assert threshold_for(y, s, sensitivity=0.75) == 0.4
    assert np.mean(s[y == 1] >= threshold_for(y, s, 0.5)) == 0.5


def test_calibration_numbers_by_hand():
    y = np.array([0, 1, 1, 0])
    p = np.array([0.0, 1.0, 0.7, 0.7])
    assert brier(y, p) == pytest.approx((0.09 + 0.49) / 4)
    assert ece(y, p, bins=10) == pytest.approx(0.5 * abs(0.5 - 0.7))
    curve = reliability_curve(y, p, bins=10)
    assert curve.count.tolist() == [1, 2, 1]
    assert curve.predicted == pytest.approx([0.0, 0.7, 1.0])
    assert curve.observed == pytest.approx([0.0, 0.5, 1.0])
