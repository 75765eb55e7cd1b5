"""Class sampling: the same epochs for the same seed, and honest probabilities afterwards."""

from __future__ import annotations

import numpy as np
import pytest

from clsstage.sampling import ClassSampling, check_two_classes, choose_sampling
from lesioncore.errors import LesionError
from lesioncore.loading import EpochSampler

LABELS = np.array([1.0] * 10 + [0.0] * 990)


def epoch(sampling: ClassSampling, number: int, seed: int = 0) -> list[int]:
    sampler = EpochSampler(lambda rng: sampling.rows(LABELS, rng), seed)
    sampler.set_epoch(number)
    return list(sampler)


def test_negatives_are_drawn_anew_each_epoch_by_ratio():
    sampling = ClassSampling(negative_ratio=3)
    first, second = epoch(sampling, 0), epoch(sampling, 1)
    assert len(first) == len(second) == 40
    assert sorted(r for r in first if r < 10) == list(range(10))
    assert {r for r in first if r >= 10} != {r for r in second if r >= 10}
    assert len(set(first)) == 40
    assert first != sorted(first)


def test_the_draw_depends_on_seed_and_epoch_alone():
    sampling = ClassSampling(negative_ratio=3, positive_ratio=2)
    assert epoch(sampling, 4) == epoch(sampling, 4)
    assert epoch(sampling, 4) != epoch(sampling, 4, seed=1)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0, 2.5])
def test_positives_repeat_evenly(ratio):
    rows = epoch(ClassSampling(positive_ratio=ratio), 0)
    shown = np.bincount([r for r in rows if r < 10], minlength=10)
    assert shown.sum() == 10 * ratio
    assert shown.max() - shown.min() <= 1
    assert sum(r >= 10 for r in rows) == 990


def test_the_offset_undoes_the_sampling():
    sampling = ClassSampling(negative_ratio=3, positive_ratio=2)
    benign, malignant = sampling.counts(LABELS)
    shown = np.log(malignant / benign)
    assert 1 / (1 + np.exp(-(shown + sampling.prior_offset(LABELS)))) == pytest.approx(0.01)
    assert ClassSampling().prior_offset(LABELS) == 0.0


def test_auto_samples_where_malignancy_is_rare():
    assert choose_sampling(LABELS, "auto", 1.0).negative_ratio == 10.0
    assert choose_sampling(np.array([0.0, 1.0] * 20), "auto", 1.0).negative_ratio is None
    assert choose_sampling(LABELS, "all", 1.0).negative_ratio is None
    assert choose_sampling(LABELS, 4, 1.0).negative_ratio == 4.0


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0.0, 0.0], "all 2 images are benign"),
        ([1.0], "all 1 images are malignant"),
        ([], "no images: none has a label"),
    ],
)
def test_one_class_is_refused(labels, says):
    with pytest.raises(LesionError, match=says):
        check_two_classes(np.array(labels), "images", "cancer")
