"""`lesion evaluate` on tables as people have them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesioncore.commands import Command, run_commands
from lesioncore.errors import LesionError, UsageError
from lesioncore.metrics import average_precision, bootstrap, paired_bootstrap, partial_auc, roc_auc
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


def test_labels_beside_out_of_fold_scores_are_not_taken_for_scores(tmp_path, table):
    out_of_fold = table[["image_id", "target"]].assign(oof_prediction=table["malignant"])
    labels = table[["image_id", "target", "patient_id"]]
    result = scores(tmp_path, out_of_fold, labels)
    assert result["auc"]["value"] == pytest.approx(roc_auc(table["target"], table["malignant"]))
    with pytest.raises(LesionError, match="holds labels"):
        scores(tmp_path, out_of_fold.drop(columns="oof_prediction"), labels)
