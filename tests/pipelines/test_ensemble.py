"""`lesion ensemble`: members from any table or run, weights that saw no label they judge."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesioncore.commands import run_commands
from lesioncore.errors import LesionError, UsageError
from lesioncore.metrics import roc_auc
from pipelines.commands import COMMANDS
from pipelines.ensemble_config import EnsembleConfig
from pipelines.ensembles.combination import Combination, make_combination
from pipelines.ensembles.diversity import pairwise
from pipelines.ensembles.ensemble import ensemble
from pipelines.ensembles.weights import fit_slopes, nested_weights

ROWS = 400


@pytest.fixture
def truth() -> pd.DataFrame:
    generator = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "image_id": [f"{i:04d}" for i in range(ROWS)],
            "target": (generator.random(ROWS) < 0.25).astype(int),
            "patient_id": [f"P{i // 4}" for i in range(ROWS)],
        }
    )


@pytest.fixture
def members(tmp_path: Path, truth: pd.DataFrame) -> dict[str, Path]:
    """Two models that know different things, and one that knows nothing."""
    generator = np.random.default_rng(6)
    noise = generator.normal(size=(3, ROWS))
    paths = {}
    for number, (name, gain) in enumerate({"good": 1.5, "fair": 1.2, "noise": 0.0}.items()):
        logit = gain * truth["target"] + noise[number] - 1
        table = truth[["image_id"]].assign(malignant=1 / (1 + np.exp(-logit)))
        paths[name] = tmp_path / f"{name}.csv"
        table.sample(frac=1, random_state=number).to_csv(paths[name], index=False)
    truth.to_csv(tmp_path / "labels.csv", index=False)
    return paths


def joined(tmp_path: Path, members: list[str], **options) -> tuple[pd.DataFrame, dict]:
    options = {"labels": tmp_path / "labels.csv", "resamples": 30} | options
    out = tmp_path / "out" / "joined.csv"
    assert ensemble(EnsembleConfig(members=members, out=out, **options)) == 0
    table = pd.read_csv(out, dtype={"image_id": str}).sort_values("image_id", ignore_index=True)
    return table, json.loads(out.with_suffix(".json").read_text())


def test_mean_and_rank_join_rows_by_id_in_any_order(tmp_path, members, truth):
    files = [str(members["good"]), str(members["fair"])]
    tables = [
        pd.read_csv(f, dtype={"image_id": str}).sort_values("image_id", ignore_index=True)
        for f in files
    ]
    table, record = joined(tmp_path, files, method="mean")
    expected = (tables[0]["malignant"] + tables[1]["malignant"]) / 2
    assert np.allclose(table["malignant"], expected)
    table, record = joined(tmp_path, files)
    expected = (tables[0]["malignant"].rank() + tables[1]["malignant"].rank() - 1) / 2 / ROWS
    assert np.allclose(table["malignant"], expected)
    assert (record["method"], record["members"]) == ("rank", ["good", "fair"])
    best = max(one["auc"]["value"] for one in record["scores"]["members"])
    assert record["scores"]["ensemble"]["auc"]["value"] > best
    assert roc_auc(truth["target"], table["malignant"]) == pytest.approx(
        record["scores"]["ensemble"]["auc"]["value"]
    )


def test_weights_leave_out_noise_and_are_applied_later(tmp_path, members):
    files = [str(members[name]) for name in ("good", "fair", "noise")]
    table, record = joined(tmp_path, files, method="weights")
    weights = np.array(record["weights"])
    assert (weights >= 0).all() and weights.sum() == pytest.approx(1)
    assert weights[2] < 0.15 < weights[1] < weights[0]
    assert len(record["weights_by_fold"]) == 5
    # Each patient's rows lie in one fold: rows of a fold share the weights of the others.
    beside = tmp_path / "out" / "joined.json"
    again, _ = joined_again(tmp_path, files, beside)
    assert np.corrcoef(again["malignant"], table["malignant"])[0, 1] > 0.99
    alone = pd.read_csv(files[0]).head(1)
    for number, name in enumerate(files):
        one = pd.read_csv(name)
        one[one["image_id"] == alone["image_id"][0]].to_csv(tmp_path / f"{number}.csv", index=False)
    single, _ = joined_again(tmp_path, [str(tmp_path / f"{n}.csv") for n in range(3)], beside)
    same = again.set_index("image_id")["malignant"][f"{alone['image_id'][0]:04d}"]
    assert single["malignant"][0] == pytest.approx(same)  # whatever rows stand beside it


def joined_again(tmp_path: Path, files: list[str], fitted: Path) -> tuple[pd.DataFrame, None]:
    out = tmp_path / "later.csv"
    assert ensemble(EnsembleConfig(members=files, out=out, fitted=fitted)) == 0
    return pd.read_csv(out, dtype={"image_id": str}).sort_values(
        "image_id", ignore_index=True
    ), None


def test_weights_of_a_fold_do_not_see_its_labels():
    generator = np.random.default_rng(0)
    y = (generator.random(300) < 0.4).astype(float)
    scores = y[:, None] + generator.normal(size=(300, 2))
    folds = np.arange(300) % 3
    before = nested_weights(scores, y, folds)
    flipped = np.where(folds == 1, 1 - y, y)
    after = nested_weights(scores, flipped, folds)
    assert after[1] == before[1]
    assert after[0] != before[0]


def test_slopes_equal_an_unbounded_logistic_regression_where_all_are_positive():
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(1)
    y = (generator.random(500) < 0.3).astype(float)
    scores = y[:, None] * [1.0, 2.0] + generator.normal(size=(500, 2)) * [1, 4]
    standard = (scores - scores.mean(0)) / scores.std(0)
    expected = LogisticRegression(C=1.0, tol=1e-8).fit(standard, y)
    found = fit_slopes(scores, y)
    assert np.allclose(np.array(found.slopes) * scores.std(0), expected.coef_[0], atol=2e-3)
    assert np.allclose(found.log_odds(scores), expected.decision_function(standard), atol=2e-3)
    with pytest.raises(LesionError, match="one class"):
        fit_slopes(scores, np.zeros(500))


def test_run_folders_give_their_out_of_fold_predictions_and_patients(tmp_path, members, truth):
    run = tmp_path / "run"
    run.mkdir()
    oof = truth[["image_id", "target"]].assign(malignant=np.linspace(0, 1, ROWS))
    oof.to_csv(run / "oof.csv", index=False)
    split = truth[["image_id"]].assign(
        group="patient:" + truth["patient_id"], fold=np.arange(ROWS) // 4 % 2, role="train",
        members=2,
    )  # fmt: skip
    split.to_csv(run / "split.csv", index=False)
    _, record = joined(tmp_path, [str(run), str(members["good"])], labels=None, folds=3)
    assert record["members"] == ["run", "good"]
    assert record["labelled"] == ROWS
    with pytest.raises(UsageError, match="images it was trained on"):
        joined_again(tmp_path, [str(run), str(members["good"])], tmp_path / "out" / "joined.json")


def test_columns_are_named_after_two_colons(tmp_path, truth):
    both = truth[["image_id", "target"]].assign(
        p_a=np.linspace(0, 1, ROWS), p_b=np.linspace(5, 9, ROWS)
    )
    path = tmp_path / "both.csv"
    both.to_csv(path, index=False)
    members = [f"{path}::p_a", f"{path}::p_b"]
    _, record = joined(tmp_path, members, labels=None)
    assert record["members"] == ["p_a", "p_b"]
    with pytest.raises(LesionError, match="p_b has scores from 5 to 9"):
        joined(tmp_path, members, labels=None, method="logit")
    with pytest.raises(LesionError, match="FILE::COLUMN"):
        joined(tmp_path, [f"{path}::p_c"], labels=None)


def test_rows_that_a_member_lacks_are_refused_and_then_counted(tmp_path, members, truth):
    table = pd.read_csv(members["good"], dtype={"image_id": str})
    table.iloc[3:].to_csv(members["good"], index=False)
    files = [str(members["good"]), str(members["fair"])]
    with pytest.raises(LesionError, match="3 of 400 rows have no score of some member"):
        joined(tmp_path, files)
    found, _ = joined(tmp_path, files, max_failed=3)
    assert len(found) == ROWS - 3


def test_joining_needs_no_labels_but_weights_do(tmp_path, members, capsys):
    files = [str(members["good"]), str(members["fair"])]
    _, record = joined(tmp_path, files, labels=None)
    assert "scores" not in record
    with pytest.raises(LesionError, match="there are none"):
        joined(tmp_path, files, labels=None, method="weights")
    words = ["ensemble", "--members", *files, "--out", str(tmp_path / "x.csv")]
    assert run_commands("lesion", "", COMMANDS, words) == 0
    assert "rank correlation" in capsys.readouterr().out


def test_disagreement_and_correlation_of_pairs():
    up = np.arange(100.0)
    alike, against = pairwise(("a", "b", "c"), np.stack([up, up**3, -up], axis=1))[:2]
    assert alike["rank_correlation"] == pytest.approx(1)
    assert alike["disagreement"] == 0
    assert against["rank_correlation"] == pytest.approx(-1)
    assert against["disagreement"] == 1


def test_a_combination_reads_back_and_refuses_what_is_none():
    generator = np.random.default_rng(2)
    scores = generator.random((3000, 2)) ** 3
    made = make_combination("rank", ("a", "b"), scores)
    again = Combination.from_dict(json.loads(json.dumps(made.to_dict())))
    assert again == made
    exact = (np.argsort(np.argsort(scores, axis=0), axis=0) + 0.5).mean(axis=1) / 3000
    assert np.abs(again.join(scores) - exact).max() < 2e-3
    with pytest.raises(LesionError, match="no ensemble"):
        Combination.from_dict({"version": 1})
