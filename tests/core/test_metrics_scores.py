"""The scores by name: one set of titles, intervals by group, one way to write them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lesioncore.metrics import (
    MALIGNANCY_METRICS,
    MASK_METRICS,
    TITLES,
    Panel,
    bootstrap,
    roc_auc,
    score_lines,
    score_malignancy,
    score_masks,
    score_table,
    score_text,
)

LABELS = np.array([0.0, 1, 0, 1, 0, 1, 0, 0])
CHANCES = np.array([0.1, 0.8, 0.4, 0.3, 0.2, 0.9, 0.5, 0.1])
GROUPS = np.array(["a", "a", "b", "b", "c", "c", "d", "d"])


def test_every_metric_has_a_title():
    assert set(TITLES) > {*MASK_METRICS, *MALIGNANCY_METRICS}
    panel = set(Panel(LABELS, CHANCES, GROUPS).numbers())
    assert panel - {"net_benefit"} < set(TITLES)


def test_scores_are_those_of_the_bootstrap_by_group():
    found = score_malignancy(LABELS, CHANCES, GROUPS, resamples=50, seed=3)
    assert list(found) == list(MALIGNANCY_METRICS)
    assert (
        found["auc"] == bootstrap(roc_auc, LABELS, CHANCES, groups=GROUPS, n=50, seed=3).to_dict()
    )


def test_masks_are_scored_by_their_mean():
    images = pd.DataFrame({name: [0.5, 0.7, 0.9] for name in MASK_METRICS})
    found = score_masks(images, ["a", "b", "c"], resamples=50)
    assert list(found) == list(MASK_METRICS)
    assert found["dice"]["value"] == pytest.approx(0.7)
    assert found["dice"]["low"] < 0.7 < found["dice"]["high"]


def test_scores_are_written_in_one_way():
    scores = {
        "n": 8,
        "auc": {"value": 0.5, "low": 0.25, "high": 0.75},
        "dice": {"value": 0.9, "low": None, "high": None},
        "ece": {"value": None, "low": None, "high": None},
    }
    assert score_text(scores["auc"]) == "0.5000 [0.2500, 0.7500]"
    assert [line.split("  ")[-1].strip() for line in score_lines(scores)] == [
        "0.9000",
        "0.5000 [0.2500, 0.7500]",
        "not defined",
    ]
    assert score_table(scores)[2:] == [
        "| Dice | 0.9000 | none to none |",
        "| AUC | 0.5000 | 0.2500 to 0.7500 |",
        "| calibration error | none | none to none |",
    ]
