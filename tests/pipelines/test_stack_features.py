"""Features of the stack: as documented, of the patient's own lesions, never the answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.stack.features.catalogue import catalogue, page
from pipelines.stack.features.formulas import FORMULAS
from pipelines.stack.features.outliers import outlier_factors
from pipelines.stack.features.patients import RELATIVE_COLUMNS, Patients, ranks
from pipelines.stack.features.rates import Rates, cross_fitted
from pipelines.stack.features.table import make_features, metadata_columns

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "stack-features.md"
ROWS = 300


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """A manifest with every column that a formula names, some values missing."""
    generator = np.random.default_rng(3)
    names = {name for formula in FORMULAS for name in formula.sources}
    names |= {name for name, _ in RELATIVE_COLUMNS}
    frame = pd.DataFrame({name: generator.gamma(3, 2, ROWS) for name in sorted(names)})
    frame["image_id"] = [f"I{i}" for i in range(ROWS)]
    frame["patient_id"] = [f"P{i}" for i in generator.integers(0, 25, ROWS)]
    frame.loc[:1, "patient_id"] = None
    frame.loc[2, "patient_id"] = "alone"
    frame["sex"] = generator.choice(["male", "female"], ROWS)
    frame["score_net"] = generator.random(ROWS)
    frame.loc[5:9, "tbp_lv_H"] = np.nan
    return frame


def values_of(rows: pd.DataFrame, **options) -> pd.DataFrame:
    table = make_features(rows, **options)
    return pd.DataFrame(table.values, columns=list(table.names), index=rows.index)


def test_the_page_says_what_is_computed(rows):
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "make it again: python -m pipelines.stack.features.catalogue "
        "docs/reference/stack-features.md"
    )
    listed = {entry.name.replace("NAME", "net"): entry.family for entry in catalogue()}
    table = make_features(rows)
    assert len(set(table.names)) == len(table.names)
    for name, family in zip(table.names, table.families, strict=True):
        plain = "mask_COLUMN" if name.startswith("mask_") and name in rows else name
        if name in metadata_columns(rows) and name not in listed:
            plain = "COLUMN"
        assert listed[plain] == family, name


def test_relatives_equal_those_of_pandas(rows):
    found = values_of(rows)
    known = rows["patient_id"].notna()
    for name in ("diameter_mm", "tbp_lv_H", "score_net"):
        by = rows[known].groupby("patient_id")[name]
        mean, deviation, size = (
            by.transform("mean"),
            by.transform("std", ddof=0),
            by.transform("count"),
        )
        z = ((rows[name] - mean) / deviation).where(size > 1, 0.0)
        z = z.where(rows[name].notna())
        assert np.allclose(found[f"{name}_patient_z"][known], z[known], atol=1e-4, equal_nan=True)
        rank = (by.rank() - 0.5) / size
        if f"{name}_patient_rank" in found:
            got = found[f"{name}_patient_rank"][known]
            assert np.allclose(got, rank[known], atol=1e-5, equal_nan=True)
    ratio = rows["diameter_mm"] / rows.groupby("patient_id")["diameter_mm"].transform("mean")
    assert np.allclose(found["diameter_mm_patient_ratio"][known], ratio[known], atol=1e-5)


def test_lesions_with_no_company_are_neutral(rows):
    found = values_of(rows).loc[[0, 1, 2]]
    for ending, neutral in (("_z", 0.0), ("_rank", 0.5), ("_ratio", 1.0), ("_outlier", 1.0)):
        columns = [name for name in found if name.endswith(f"patient{ending}")]
        assert columns
        assert np.allclose(found[columns], neutral)


def test_a_patient_is_the_same_alone_and_in_any_order(rows):
    whole = values_of(rows)
    shuffled = rows.sample(frac=1, random_state=1)
    assert np.allclose(values_of(shuffled).loc[rows.index], whole, equal_nan=True, atol=1e-4)
    one = rows[rows["patient_id"] == rows["patient_id"].mode()[0]]
    assert len(one) > 8
    assert np.allclose(values_of(one), whole.loc[one.index], equal_nan=True, atol=1e-4)


def test_outlier_factors_equal_those_of_scikit_learn():
    from sklearn.neighbors import LocalOutlierFactor

    points = np.random.default_rng(0).normal(size=(200, 5))
    points[7] += 8
    found = outlier_factors(points, Patients(np.array([0]), np.array([200])))
    expected = -LocalOutlierFactor(n_neighbors=30).fit(points).negative_outlier_factor_
    assert np.allclose(found, expected, rtol=1e-4)
    assert found.argmax() == 7
    few = outlier_factors(points[:6], Patients(np.array([0, 3]), np.array([3, 3])))
    assert (few == 1).all()


def test_a_patient_with_thousands_of_lesions_has_neighbours_among_some_of_them():
    points = np.random.default_rng(1).normal(size=(3000, 4))
    points[11] += 9
    found = outlier_factors(points, Patients(np.array([0]), np.array([3000])))
    turned = outlier_factors(points[::-1], Patients(np.array([0]), np.array([3000])))
    assert found.argmax() == 11
    assert 0.9 < np.median(found) < 1.1
    assert np.allclose(found, turned[::-1], rtol=1e-4)


def test_ranks_count_ties_and_the_lesion_itself_by_half():
    found = ranks(
        np.array([3.0, 1.0, 3.0, np.nan, 5.0]), Patients(np.array([0, 4]), np.array([4, 1]))
    )
    assert np.allclose(found, [2 / 3, 0.5 / 3, 2 / 3, np.nan, 0.5], equal_nan=True)


def test_what_gives_the_answer_away_never_enters(rows):
    leaks = rows.assign(
        target=1.0, iddx_1="Malignant", mel_thick_mm=0.4, tbp_lv_dnn_lesion_confidence=99.0,
        attribution="A", copyright_license="B", fold=2, n_images=4.0, lesion_id="L", oof_pred=0.5,
    )  # fmt: skip
    before, after = make_features(rows), make_features(leaks)
    assert after.names == before.names
    assert np.array_equal(after.values, before.values, equal_nan=True)


def test_families_can_be_left_out_and_absent_columns_leave_no_trace(rows):
    lean = make_features(rows, without=("patient", "outlier", "masks"))
    assert {"patient", "outlier", "masks"}.isdisjoint(lean.families)
    assert not any("patient" in name for name in lean.names)
    plain = make_features(rows[["image_id", "patient_id", "age", "sex"]])
    assert plain.names == ("male", "age")


def test_the_rate_of_a_training_row_never_counts_its_own_label():
    generator = np.random.default_rng(4)
    values = pd.Series(generator.choice(["a", "b", None], 120))
    y = (generator.random(120) < 0.3).astype(float)
    folds = np.arange(120) % 4
    found = cross_fitted("site", values, y, folds)
    for row in range(0, 120, 7):
        other = y.copy()
        other[row] = 1 - other[row]
        assert cross_fitted("site", values, other, folds)[row] == found[row]
    rates = Rates.fit("site", values, y)
    assert rates.encode(pd.Series(["never seen"]))[0] == pytest.approx(rates.overall)
    assert len(rates.by_value) == 3  # missing is a value of its own
