"""`lesion evaluate` on tables as people have them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesioncore.commands import Command, run_commands
from lesioncore.errors import LesionError, UsageError
from lesioncore.metrics import (
    auc_test,
    average_precision,
    bootstrap,
    calibration_line,
    net_benefit,
    number_needed_to_biopsy,
    paired_bootstrap,
    partial_auc,
    roc_auc,
    sensitivity_at,
    specificity_at,
    threshold_for,
    treat_all,
)
from pipelines.scoring import evaluate
from pipelines.scoring_config import EvaluateConfig

METRICS = {"auc", "pauc", "average_precision", "brier", "ece"}


@pytest.fixture
def table() -> pd.DataFrame:
    generator = np.random.default_rng(4)
    y = (generator.random(300) < 0.3).astype(int)
    frame = pd.DataFrame({"image_id": [f"{i:04d}" for i in range(300)], "target": y})
    frame["malignant"] = 1 / (1 + np.exp(-(generator.normal(size=300) + 2 * y - 1)))
    frame["other"] = np.clip(frame["malignant"] + generator.normal(scale=0.2, size=300), 0, 1)
    frame["patient_id"] = [f"IP_{i // 3}" for i in range(300)]
    return frame


def scores(tmp_path: Path, predictions: pd.DataFrame, labels=None, **options):
    predictions.to_csv(tmp_path / "predictions.csv", index=False)
    if labels is not None:
        labels.to_csv(tmp_path / "labels.csv", index=False)
        options["labels"] = tmp_path / "labels.csv"
    options = {"resamples": 50} | options
    out = tmp_path / "scores.json"
    config = EvaluateConfig(predictions=tmp_path / "predictions.csv", out=out, **options)
    assert evaluate(config) == 0
    return json.loads(out.read_text())


def test_labels_in_another_file(tmp_path, table, capsys):
    predictions = table[["image_id", "malignant"]].sample(frac=1, random_state=0)
    result = scores(tmp_path, predictions, table[["image_id", "target", "patient_id"]])
    y, s, groups = (table[name].to_numpy() for name in ("target", "malignant", "patient_id"))
    assert (result["n"], result["positives"], result["policy"]) == (300, y.sum(), "target")
    assert set(result) > METRICS
    for name in METRICS:
        assert set(result[name]) == {"value", "low", "high"}
        assert result[name]["low"] <= result[name]["high"]
    assert result["auc"]["value"] == pytest.approx(roc_auc(y, s), abs=1e-12)
    assert result["pauc"]["value"] == pytest.approx(partial_auc(y, s), abs=1e-12)
    assert result["groups"] == {"by": "patient_id", "n": 100}
    expected = bootstrap(roc_auc, y, s, groups=[f"patient:{name}" for name in groups], n=50)
    assert result["auc"]["low"] == pytest.approx(expected.low, abs=1e-12)
    shown = capsys.readouterr().out
    assert "pAUC above 80% TPR" in shown
    assert "not a diagnosis" in shown


def test_labels_in_the_same_file_and_json_on_stdout(tmp_path, table, capsys):
    path = tmp_path / "both.parquet"
    table.to_parquet(path)
    evaluate(EvaluateConfig(predictions=path, resamples=20))
    printed = capsys.readouterr()
    assert json.loads(printed.out)["n"] == 300
    assert "AUC" in printed.err


def test_kaggle_submission_against_official_metadata(tmp_path, table):
    submission = pd.DataFrame({"isic_id": table["image_id"], "target": table["malignant"]})
    metadata = pd.DataFrame({"isic_id": table["image_id"], "target": table["target"]})
    result = scores(tmp_path, submission, metadata)
    assert result["auc"]["value"] == pytest.approx(roc_auc(table["target"], table["malignant"]))
    assert result["groups"]["by"] == "row"


def test_columns_can_be_named_and_ids_keep_their_zeros(tmp_path, table):
    predictions = table.rename(columns={"image_id": "picture", "malignant": "p"})[["picture", "p"]]
    labels = table.rename(columns={"target": "truth", "patient_id": "person"})
    labels = labels[["image_id", "truth", "person"]].replace({"truth": {1: "malignant", 0: "no"}})
    labels["image_id"] += ".jpg"
    result = scores(
        tmp_path, predictions, labels, id_column="picture", score_column=["p"],
        label_column="truth", group_column="person",
    )  # fmt: skip
    assert result["n"] == 300
    assert result["groups"] == {"by": "person", "n": 100}


def test_several_scores_are_compared_in_pairs(tmp_path, table, capsys):
    table["third"] = 1 - table["other"]
    names = ["malignant", "other", "third"]
    result = scores(tmp_path, table, score_column=names)
    assert list(result["models"]) == names
    assert {"n", "positives", "policy"} | METRICS <= set(result["models"]["other"])
    pairs = [(item["a"], item["b"]) for item in result["differences"]]
    assert pairs == [("malignant", "other"), ("malignant", "third"), ("other", "third")]
    first = result["differences"][0]["average_precision"]
    expected = paired_bootstrap(
        average_precision, table["target"], table["malignant"], table["other"],
        [f"patient:{name}" for name in table["patient_id"]], n=50,
    )  # fmt: skip
    assert first["value"] == pytest.approx(expected.value, abs=1e-12)
    assert (first["low"], first["high"]) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert "malignant - other" in capsys.readouterr().out


def test_another_file_of_predictions_is_compared_in_pairs(tmp_path, table, capsys):
    mine = table[["image_id", "malignant"]]
    theirs = pd.DataFrame({"isic_id": table["image_id"] + ".jpg", "prob": table["other"]})
    theirs.sample(frac=1, random_state=1).to_csv(tmp_path / "theirs.csv", index=False)
    labels = table[["image_id", "target", "patient_id"]]
    result = scores(tmp_path, mine, labels, against=[tmp_path / "theirs.csv"])
    assert list(result["models"]) == ["predictions", "theirs"]
    y, a, b, groups = (table[n] for n in ("target", "malignant", "other", "patient_id"))
    (pair,) = result["differences"]
    expected = paired_bootstrap(roc_auc, y, a, b, [f"patient:{name}" for name in groups], n=50)
    assert pair["auc"]["value"] == pytest.approx(expected.value, abs=1e-12)
    assert (pair["auc"]["low"], pair["auc"]["high"]) == pytest.approx((expected.low, expected.high))
    assert pair["delong"] == pytest.approx(auc_test(y, a, b).to_dict(), abs=1e-12)
    assert pair["delong_by_group"] == pytest.approx(auc_test(y, a, b, groups).to_dict(), abs=1e-9)
    shown = capsys.readouterr().out
    assert "AUC, DeLong by patient_id" in shown
    assert "p = " in shown or "p < " in shown


def test_files_with_one_name_are_told_apart_and_each_may_have_several_scores(tmp_path, table):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        table.to_csv(tmp_path / folder / "p.csv", index=False)
    config = EvaluateConfig(
        predictions=tmp_path / "a" / "p.csv", against=[tmp_path / "b" / "p.csv"],
        score_column=["malignant", "other"], out=tmp_path / "scores.json", resamples=5,
    )  # fmt: skip
    evaluate(config)
    result = json.loads((tmp_path / "scores.json").read_text())
    assert list(result["models"]) == [
        "a/p: malignant", "a/p: other", "b/p: malignant", "b/p: other"
    ]  # fmt: skip
    assert len(result["differences"]) == 6
    same = next(d for d in result["differences"] if {d["a"][5:], d["b"][5:]} == {"malignant"})
    assert (same["auc"]["high"], same["delong"]["p"]) == (0, 1)


def test_a_row_that_the_other_file_lacks_is_counted(tmp_path, table):
    table[["image_id", "other"]].iloc[3:].to_csv(tmp_path / "theirs.csv", index=False)
    options = {"against": [tmp_path / "theirs.csv"], "score_column": ["malignant", "other"]}
    with pytest.raises(LesionError, match="3 rows without a score"):
        scores(tmp_path, table.drop(columns="other"), **options)
    result = scores(tmp_path, table.drop(columns="other"), max_failed=3, **options)
    assert result["n"] == 297


def test_numbers_of_decisions_are_those_of_the_metrics(tmp_path, table):
    result = scores(tmp_path, table)
    y, s = table["target"], table["malignant"]
    assert result["sensitivity_at_specificity_95"]["value"] == sensitivity_at(y, s, 0.95)
    assert result["specificity_at_sensitivity_90"]["value"] == specificity_at(y, s, 0.9)
    needed = result["number_needed_to_biopsy_80"]
    assert needed["value"] == pytest.approx(number_needed_to_biopsy(y, s, 0.8))
    assert needed["low"] < needed["value"] < needed["high"]
    curve = result["decision_curve"]
    assert curve["net_benefit"] == pytest.approx(list(net_benefit(y, s)))
    assert curve["treat_all"] == pytest.approx(list(treat_all(y.mean())))
    assert all(low <= high for low, high in zip(curve["low"], curve["high"], strict=True))
    assert result["calibration_slope"]["value"] == pytest.approx(
        calibration_line(y, s).slope.value, abs=1e-9
    )


def test_the_operating_point_is_fitted_unless_it_is_given(tmp_path, table, capsys):
    y, s = table["target"], table["malignant"]
    point = scores(tmp_path, table)["operating_point"]
    assert point["threshold"] == threshold_for(y, s, 0.9)
    assert point["sensitivity"]["value"] >= 0.9
    point = scores(tmp_path, table, threshold=0.3)["operating_point"]
    called = s >= 0.3
    assert (point["threshold"], point["chosen"]) == (0.3, "given")
    expected = {
        "sensitivity": called[y == 1].mean(), "specificity": 1 - called[y == 0].mean(),
        "ppv": y[called].mean(), "npv": 1 - y[~called].mean(), "called": called.mean(),
    }  # fmt: skip
    for rate, value in expected.items():
        assert point[rate]["value"] == pytest.approx(value), rate
        assert point[rate]["low"] <= value <= point[rate]["high"]
    assert "calling 0.3 and above (given)" in capsys.readouterr().out


def test_each_diagnosis_is_counted_and_claimed_only_with_enough_rows(tmp_path, table, capsys):
    words = np.where(table["target"] == 1, "mel", "nv").astype(object)
    words[np.flatnonzero(table["target"] == 1)[:5]] = "bcc"
    words[np.flatnonzero(table["target"] == 0)[:40]] = "a word of their own"
    words[np.flatnonzero(table["target"] == 0)[40:43]] = None
    table["dx"] = words
    result = scores(tmp_path, table, threshold=0.4)
    rows = {row["diagnosis"]: row for row in result["diagnoses"]}
    assert sum(row["n"] for row in rows.values()) == 300
    names = list(rows)
    assert names[:2] == ["melanoma", "basal cell carcinoma"]
    assert rows["basal cell carcinoma"]["called_share"] == {
        "value": None, "low": None, "high": None, "reason": "n = 5: too few"
    }  # fmt: skip
    mel = (words == "mel").astype(bool)
    assert rows["melanoma"]["called"] == int((table["malignant"][mel] >= 0.4).sum())
    assert rows["melanoma"]["called_share"]["value"] == pytest.approx(
        (table["malignant"][mel] >= 0.4).mean()
    )
    against = mel | (table["target"] == 0)
    assert rows["melanoma"]["auc"]["value"] == pytest.approx(
        roc_auc(table["target"][against], table["malignant"][against])
    )
    assert rows["a word of their own"]["malignant"] == 0
    assert rows["not stated"]["n"] == 3
    shown = capsys.readouterr().out
    assert "By diagnosis" in shown
    assert "n = 5: too few" in shown


def test_a_diagnosis_beside_the_scores_is_the_tool_s_own_guess(tmp_path, table):
    predictions = table[["image_id", "malignant"]].assign(diagnosis="melanoma")
    labels = table[["image_id", "target"]]
    assert "diagnoses" not in scores(tmp_path, predictions, labels)
    named = scores(tmp_path, predictions, labels, diagnosis_column="diagnosis")
    assert [row["diagnosis"] for row in named["diagnoses"]] == ["melanoma"]
    assert named["diagnoses"][0]["auc"]["reason"] == "of both classes"
    with pytest.raises(LesionError, match="no column nonesuch"):
        scores(tmp_path, predictions, labels, diagnosis_column="nonesuch")


def test_diagnoses_need_a_policy(tmp_path, table):
    labels = pd.DataFrame({"image_id": table["image_id"]})
    labels["dx"] = np.where(table["target"] == 1, "mel", "nv")
    labels.loc[:4, "dx"] = ["akiec", "bcc", "unknown", "akiec", "bkl"]
    predictions = table[["image_id", "malignant"]]
    with pytest.raises(UsageError, match="--policy cancer"):
        scores(tmp_path, predictions, labels)
    with_ak = scores(tmp_path, predictions, labels, policy="cancer+ak", source="ham10000")
    only = scores(tmp_path, predictions, labels, policy="melanoma", source="ham10000")
    assert (with_ak["policy"], only["policy"]) == ("cancer+ak", "melanoma")
    assert with_ak["positives"] == only["positives"] + 3
    assert with_ak["n"] == 299
    assert with_ak["unlabelled"] == 1  # unknown is not benign


def test_one_column_of_an_official_table_of_classes(tmp_path, table):
    labels = pd.DataFrame({"image": table["image_id"] + "_downsampled", "MEL": table["target"]})
    result = scores(tmp_path, table[["image_id", "malignant"]], labels, label_column="MEL")
    assert result["positives"] == table["target"].sum()


def test_rows_without_a_partner_are_counted_and_refused(tmp_path, table, caplog):
    predictions = table[["image_id", "malignant"]].copy()
    predictions.loc[7, "malignant"] = np.nan
    labels = table[["image_id", "target"]]
    with pytest.raises(LesionError) as error:
        scores(tmp_path, predictions.iloc[5:], labels.iloc[:-2])
    for part in ("2 predictions without a label", "5 labels without a prediction", "1 rows"):
        assert part in str(error.value)
    assert "--max-failed 8" in str(error.value)
    assert not (tmp_path / "scores.json").exists()
    result = scores(tmp_path, predictions.iloc[5:], labels.iloc[:-2], max_failed=8)
    assert result["n"] == 292
    assert sum(result["unmatched"].values()) == 8
    assert "left out" in caplog.text
    with pytest.raises(LesionError, match="no row has both"):
        scores(tmp_path, predictions.assign(image_id="x" + predictions["image_id"]), labels,
               max_failed=1000)  # fmt: skip


@pytest.mark.parametrize(("value", "word"), [(0, "benign"), (1, "malignant")])
def test_one_class_is_an_error_that_says_so(tmp_path, table, value, word):
    with pytest.raises(LesionError, match=f"all 300 labels are {word}"):
        scores(tmp_path, table.assign(target=value))


def test_scores_that_are_no_probabilities_lose_only_the_calibration(tmp_path, table, capsys):
    result = scores(tmp_path, table.assign(malignant=table["malignant"] * 7 - 3))
    assert result["auc"]["value"] is not None
    assert result["brier"]["value"] is None
    assert "not probabilities" in result["brier"]["reason"]
    assert "not probabilities" in capsys.readouterr().out


def test_other_settings(tmp_path, table):
    plain = scores(tmp_path, table)
    strict = scores(tmp_path, table, min_tpr=0.9, stratify=True, seed=3)
    assert strict["pauc"]["value"] < plain["pauc"]["value"]
    assert strict["bootstrap"]["stratified"] is True
    assert plain["auc"] != strict["auc"]
    assert plain["top15_sensitivity"]["value"] == 1.0  # three lesions a patient
    none = scores(tmp_path, table, resamples=0)
    assert none["auc"]["low"] is None


def test_wrong_tables_are_named(tmp_path, table):
    with pytest.raises(LesionError, match=r"no such file: .*gone\.csv"):
        evaluate(EvaluateConfig(predictions=tmp_path / "gone.csv"))
    with pytest.raises(LesionError, match=r"no column of ids.*it has: picture, target"):
        scores(tmp_path, table.rename(columns={"image_id": "picture"}))
    with pytest.raises(LesionError, match="no column nonesuch"):
        scores(tmp_path, table, score_column=["nonesuch"])
    with pytest.raises(LesionError, match="no column nonesuch"):
        scores(tmp_path, table, group_column="nonesuch")
    with pytest.raises(LesionError, match="no column of scores"):
        scores(tmp_path, table[["image_id", "target"]])
    with pytest.raises(LesionError, match="no column of labels"):
        scores(tmp_path, table[["image_id", "malignant"]])
    with pytest.raises(LesionError, match=r"1 rows have an id .* \(first: 0000\)"):
        scores(tmp_path, pd.concat([table, table.iloc[:1]]))
    with pytest.raises(LesionError, match="not a column of numbers"):
        scores(tmp_path, table.assign(malignant="high"))
    with pytest.raises(LesionError, match=r"holds 0\.\d+, which is no label"):
        scores(tmp_path, table, label_column="other")


def test_as_a_command(tmp_path, table, capsys):
    table.to_csv(tmp_path / "p.csv", index=False)
    commands = {"evaluate": Command(EvaluateConfig, "pipelines.scoring:evaluate", "score")}
    arguments = ["evaluate", "--predictions", str(tmp_path / "p.csv"), "--resamples", "20"]
    compared = [*arguments, "--score-column", "malignant", "--score-column", "other"]
    assert run_commands("lesion", "", commands, [*compared, "--out", str(tmp_path / "s")]) == 0
    assert set(json.loads((tmp_path / "s" / "scores.json").read_text())["models"]) == {
        "malignant",
        "other",
    }
    assert run_commands("lesion", "", commands, [*arguments, "--policy", "cancer"]) == 1
    assert "error" in capsys.readouterr().err


@pytest.mark.real_data
def test_public_predictions_with_patients(real_data: Path, tmp_path, capsys):
    folder = real_data / "isic2024_slice3d_sample"
    config = EvaluateConfig(
        predictions=folder / "384_v2b1_5k.csv",
        score_column=["oof_prediction"],
        labels=folder / "train-metadata.csv",
        out=tmp_path / "scores.json",
        resamples=100,
    )
    assert evaluate(config) == 0
    result = json.loads((tmp_path / "scores.json").read_text())
    assert (result["n"], result["positives"], result["groups"]["n"]) == (3561, 273, 614)
    assert result["auc"]["value"] == pytest.approx(0.978, abs=5e-4)  # as its README says
    assert {"melanoma", "basal cell carcinoma"} <= {row["diagnosis"] for row in result["diagnoses"]}


@pytest.mark.real_data
def test_four_public_models_are_compared_quickly(real_data: Path, tmp_path):
    table = real_data / "isic2024_slice3d_sample" / "third_party_predictions_4models.csv"
    names = pd.read_csv(table, nrows=1).columns[2:].tolist()
    config = EvaluateConfig(predictions=table, score_column=names, out=tmp_path / "scores.json")
    start = time.process_time()
    assert evaluate(config) == 0
    assert time.process_time() - start < 10  # about two seconds alone
    result = json.loads((tmp_path / "scores.json").read_text())
    assert (result["n"], result["positives"], len(result["differences"])) == (28010, 27, 6)
    areas = [round(model["auc"]["value"], 2) for model in result["models"].values()]
    assert areas == [0.86, 0.68, 0.85, 0.74]  # as its README says


def test_labels_beside_out_of_fold_scores_are_not_taken_for_scores(tmp_path, table):
    out_of_fold = table[["image_id", "target"]].assign(oof_prediction=table["malignant"])
    labels = table[["image_id", "target", "patient_id"]]
    result = scores(tmp_path, out_of_fold, labels)
    assert result["auc"]["value"] == pytest.approx(roc_auc(table["target"], table["malignant"]))
    with pytest.raises(LesionError, match="holds labels"):
        scores(tmp_path, out_of_fold.drop(columns="oof_prediction"), labels)
