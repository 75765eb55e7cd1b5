"""Subgroups are scored with intervals, and not at all where there are too few images."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipelines.subgroups import MINIMUM, age_band, subgroup_table


def frame(n: int = 400, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < 0.3).astype(float)
    return pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(n)],
            "group": [f"g{k // 2}" for k in range(n)],
            "sex": np.where(np.arange(n) < 20, "male", "female").astype(object),
            "age": np.where(np.arange(n) % 7 == 0, np.nan, rng.integers(20, 90, n)),
            "site": np.where(rng.random(n) < 0.5, "head/neck", "torso").astype(object),
            "label": label,
            "malignant": np.clip(0.3 + 0.3 * label + rng.normal(0, 0.2, n), 0, 1),
            "dice": rng.uniform(0.7, 1, n),
        }
    )


def rows(table: list, name: str) -> dict:
    return {row.name: row for row in dict(table)[name]}


def test_every_partition_covers_all_images() -> None:
    table = subgroup_table(frame(), n=50)
    assert [name for name, _ in table] == ["", "Sex", "Age in years", "Site"]
    for _, block in table:
        assert sum(row.n for row in block) == 400


def test_a_small_group_shows_its_count_and_claims_nothing() -> None:
    male = rows(subgroup_table(frame(), n=50), "Sex")["male"]
    assert male.n == 20 < MINIMUM
    assert not male.dice.claim and not male.auc.claim
    assert "20" in male.dice.why


def test_a_large_group_has_a_value_inside_its_interval() -> None:
    female = rows(subgroup_table(frame(), n=200), "Sex")["female"]
    for cell in (female.dice, female.auc):
        assert cell.score.low < cell.score.value < cell.score.high


def test_an_auc_needs_both_classes() -> None:
    data = frame()
    torso = data["site"] == "torso"
    data.loc[torso, "label"] = 0.0
    data.loc[data.index[torso][:3], "label"] = 1.0
    row = rows(subgroup_table(data, n=50), "Site")["torso"]
    assert not row.auc.claim
    assert row.auc.why == "3 malignant: too few"
    assert row.dice.claim


def test_without_labels_or_masks_nothing_is_claimed() -> None:
    data = frame().assign(label=np.nan, dice=np.nan)
    (_, (whole,)), *_ = subgroup_table(data, n=50)
    assert whole.malignant is None
    assert whole.dice.why == "no true masks"
    assert whole.auc.why == "no labels"


def test_a_column_that_is_all_unknown_is_left_out() -> None:
    table = subgroup_table(frame().assign(site=None), n=50)
    assert "Site" not in dict(table)


def test_age_bands_are_half_open() -> None:
    bands = age_band(pd.Series([0, 29.9, 30, 44, 45, 60, 75, 90, np.nan]))
    assert list(bands) == [
        "under 30", "under 30", "30 to 44", "30 to 44", "45 to 59", "60 to 74",
        "75 and over", "75 and over", "unknown",
    ]  # fmt: skip
