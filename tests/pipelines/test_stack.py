"""`lesion stack`: honest folds, boosters that start at the image scores, runs that go on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesioncore.commands import run_commands
from lesioncore.errors import LesionError, UsageError
from lesioncore.metrics import roc_auc
from lesioncore.runs import Run
from lesioncore.splits import read_split
from pipelines.commands import COMMANDS
from pipelines.stack.boosters import Task, booster_class, booster_names
from pipelines.stack.features.table import make_features
from pipelines.stack.inputs import Inputs, Matrix
from pipelines.stack.predict import predict
from pipelines.stack.rows import StackRows, load_rows
from pipelines.stack.train import train
from pipelines.stack_config import StackOptions, StackPredictConfig, StackTrainConfig

pytest.importorskip("lightgbm")
pytest.importorskip("xgboost")
pytest.importorskip("catboost")

ROWS, PATIENTS = 360, 60


def lesions(seed: int) -> pd.DataFrame:
    """Rows of an archive in which two columns and the image score know the answer in part."""
    generator = np.random.default_rng(seed)
    y = (generator.random(ROWS) < 0.3).astype(int)
    noise = generator.normal(size=(3, ROWS))
    return pd.DataFrame(
        {
            "isic_id": [f"ISIC_{seed}{i:06d}" for i in range(ROWS)],
            "target": y,
            "patient_id": [f"IP_{seed}{p:04d}" for p in generator.integers(0, PATIENTS, ROWS)],
            "age_approx": generator.choice([40.0, 55.0, 70.0], ROWS),
            "sex": generator.choice(["male", "female"], ROWS),
            "anatom_site_general": generator.choice(["head/neck", "posterior torso"], ROWS),
            "clin_size_long_diam_mm": 4 + generator.gamma(2, 1, ROWS) + 1.2 * y,
            "tbp_lv_minorAxisMM": 3 + generator.gamma(2, 0.5, ROWS),
            "tbp_lv_norm_color": 2 + noise[0] + 1.2 * y,
            "tbp_lv_dnn_lesion_confidence": 100.0 - 60 * y,
            "iddx_full": np.where(y, "Malignant", "Benign"),
            "score": 1 / (1 + np.exp(1 - noise[1] - 1.2 * y)),
        }
    )


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("archives")
    for part, seed in (("train", 1), ("new", 2)):
        table = lesions(seed)
        (root / part).mkdir()
        scores = table[["isic_id", "score"]].sample(frac=1, random_state=seed)
        scores.to_csv(root / part / "net.csv", index=False)
        table = table.drop(columns="score")
        table.to_csv(root / part / "train-metadata.csv", index=False)
    return root


def options(archive: Path, out: Path, **more) -> dict:
    return {
        "dataset": "isic2024", "root": archive / "train", "out": out,
        "scores": [str(archive / "train/net.csv")],
        "algorithms": ["lightgbm"], "folds": 2, "inner_folds": 2, "seeds": 1,
        "max_rounds": 20, "patience": 5, "learning_rate": 0.15, "test_list": "none",
        "resamples": 20, "workers": 1,
    } | more  # fmt: skip


@pytest.fixture(scope="module")
def run(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished stack of all three libraries."""
    out = tmp_path_factory.mktemp("runs") / "stack"
    algorithms = ["lightgbm", "xgboost", "catboost"]
    train(
        StackTrainConfig(**options(archive, out, algorithms=algorithms, folds=3, score_noise=0.1))
    )
    return out


def test_the_run_folder_holds_what_other_runs_hold(run):
    for name in ("run.json", "config.yaml", "split.csv", "oof.csv", "metrics.json", "summary.md",
                 "importance.csv", "shap.png", "member-0/inputs.json", "member-2/catboost-0.cbm",
                 "member-1/lightgbm-0.txt", "member-1/xgboost-0.json"):  # fmt: skip
        assert (run / name).is_file(), name
    assert not list(run.rglob("*.pkl"))
    split, oof = read_split(run / "split.csv"), pd.read_csv(run / "oof.csv")
    assert len(oof) == ROWS and oof["image_id"].is_unique
    assert (split.groupby("group")["fold"].nunique() == 1).all()
    fold = oof["image_id"].map(split.set_index("image_id")["fold"])
    assert (fold == oof["fold"]).all()
    scores = json.loads((run / "metrics.json").read_text())
    assert scores["auc"]["value"] == pytest.approx(roc_auc(oof["target"], oof["malignant"]))
    assert scores["auc"]["value"] > scores["alone"]["the image scores alone"]["auc"]["value"] + 0.03
    assert set(scores["differences"]) == {"the image scores alone"}
    page = (run / "summary.md").read_text()
    assert "never a diagnosis" in page and "start (image scores)" in page
    importance = pd.read_csv(run / "importance.csv")
    assert importance["share"].sum() == pytest.approx(1)
    assert "start (image scores)" in importance["feature"].head(3).tolist()
    leaking = importance["feature"].str.contains("dnn|iddx|target", regex=True)
    assert not leaking.any()


def test_new_lesions_are_predicted_and_a_patient_alone_alike(run, archive, tmp_path):
    given = {
        "weights": run, "dataset": "isic2024", "root": archive / "new",
        "scores": [str(archive / "new/net.csv")], "workers": 1,
    }  # fmt: skip
    assert predict(StackPredictConfig(**given, out=tmp_path / "all.csv")) == 0
    table = pd.read_csv(tmp_path / "all.csv")
    truth = pd.read_csv(archive / "new" / "train-metadata.csv")
    assert table["image_id"].tolist() == truth["isic_id"].tolist()
    score = pd.read_csv(archive / "new/net.csv").set_index("isic_id")["score"]
    alone = roc_auc(truth["target"], truth["isic_id"].map(score))
    assert roc_auc(truth["target"], table["malignant"]) > alone + 0.03
    one = tmp_path / "one"
    one.mkdir()
    chosen = truth["patient_id"] == truth["patient_id"].mode()[0]
    truth[chosen].drop(columns="target").to_csv(one / "train-metadata.csv", index=False)
    again = StackPredictConfig(**given | {"root": one}, out=tmp_path / "one.csv")
    assert predict(again) == 0
    single = pd.read_csv(tmp_path / "one.csv")
    expected = table.set_index("image_id")["malignant"][single["image_id"]]
    assert np.allclose(single["malignant"], expected, atol=1e-6)
    with pytest.raises(UsageError, match="0 tables of scores"):
        predict(StackPredictConfig(**given | {"scores": []}, out=tmp_path / "x.csv"))


def test_a_killed_run_goes_on_and_comes_to_the_same(archive, tmp_path, caplog):
    config = StackTrainConfig(**options(archive, tmp_path / "run"))
    train(config)
    first = pd.read_csv(tmp_path / "run" / "oof.csv")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(record | {"complete": False}))
    for name in ("lightgbm.json", "validation.csv", "lightgbm-0.txt"):
        (tmp_path / "run" / "member-1" / name).unlink()
    kept = (tmp_path / "run" / "member-0" / "lightgbm-0.txt").stat().st_mtime_ns
    train(config)
    assert (tmp_path / "run" / "member-0" / "lightgbm-0.txt").stat().st_mtime_ns == kept
    second = pd.read_csv(tmp_path / "run" / "oof.csv")
    pd.testing.assert_frame_equal(first, second)
    changed = StackTrainConfig(**options(archive, tmp_path / "run", seeds=2))
    with pytest.raises(LesionError, match="seeds: 1 -> 2"):
        train(changed)


def test_changed_scores_are_refused_when_a_run_goes_on(archive, tmp_path):
    scores = tmp_path / "net.csv"
    shutil.copy(archive / "train/net.csv", scores)
    config = StackTrainConfig(**options(archive, tmp_path / "run", scores=[str(scores)]))
    train(config)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(record | {"complete": False}))
    table = pd.read_csv(scores)
    table.assign(score=table["score"] / 2).to_csv(scores, index=False)
    with pytest.raises(LesionError, match="scores have changed"):
        train(config)


def test_lesions_without_a_score_are_refused_and_then_left_out(archive, tmp_path):
    table = pd.read_csv(archive / "train/net.csv")
    table.iloc[4:].to_csv(tmp_path / "fewer.csv", index=False)
    lacking = {"scores": [str(tmp_path / "fewer.csv")]}
    with pytest.raises(LesionError, match="4 of 360 rows have no score"):
        train(StackTrainConfig(**options(archive, tmp_path / "a", **lacking)))
    train(StackTrainConfig(**options(archive, tmp_path / "b", **lacking, max_failed=4)))
    assert len(pd.read_csv(tmp_path / "b" / "oof.csv")) == ROWS - 4


def test_the_labels_of_a_held_out_fold_change_nothing_in_its_member(archive, tmp_path):
    other = tmp_path / "archive"
    other.mkdir()
    train(StackTrainConfig(**options(archive, tmp_path / "a", negative_ratio=1.5)))
    split = read_split(tmp_path / "a" / "split.csv").set_index("image_id")
    table = pd.read_csv(archive / "train" / "train-metadata.csv")
    held = table["isic_id"].map(split["fold"]) == 0
    table.loc[held, "target"] = 1 - table.loc[held, "target"]
    table.to_csv(other / "train-metadata.csv", index=False)
    train(
        StackTrainConfig(
            **options(archive, tmp_path / "b", root=other, negative_ratio=1.5)
            | {"folds_from": tmp_path / "a"}
        )
    )
    tables = [pd.read_csv(tmp_path / name / "member-0" / "validation.csv") for name in "ab"]
    assert np.array_equal(tables[0]["malignant"], tables[1]["malignant"])
    tables = [pd.read_csv(tmp_path / name / "member-1" / "validation.csv") for name in "ab"]
    assert not np.array_equal(tables[0]["malignant"], tables[1]["malignant"])


def test_without_scores_it_starts_at_the_rate_and_probabilities_fit_it(archive, tmp_path):
    given = options(archive, tmp_path / "run", scores=[], negative_ratio=1.0)
    train(StackTrainConfig(**given))
    oof = pd.read_csv(tmp_path / "run" / "oof.csv")
    assert (oof.groupby("fold")["start"].nunique() == 1).all()
    # Half of what it saw was malignant; what it says is as rare as in the archive.
    assert oof["malignant"].mean() == pytest.approx(oof["target"].mean(), abs=0.05)


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "catboost"])
def test_boosters_add_to_the_start_and_come_back_from_their_file(name, tmp_path):
    generator = np.random.default_rng(0)
    values = generator.normal(size=(300, 4)).astype(np.float32)
    values[::7, 1] = np.nan
    start = generator.normal(size=300)
    y = (generator.random(300) < 1 / (1 + np.exp(-start - 2 * values[:, 0]))).astype(float)
    kind = booster_class(name)
    task = Task(rounds=60, learning_rate=0.1, seed=1, threads=1, patience=10)
    rows = Matrix(values, start)
    train_, watch = rows.take(np.arange(200)), rows.take(np.arange(200, 300))
    made = kind.fit(train_, y[:200], list("abcd"), kind.candidates[0], task, (watch, y[200:]))
    assert 1 <= made.rounds <= 60
    margin = made.margin(values)
    assert roc_auc(y, start + margin) > roc_auc(y, start) + 0.1
    made.save(tmp_path / f"booster{kind.suffix}")
    again = kind.load(tmp_path / f"booster{kind.suffix}", made.rounds, 1)
    assert np.allclose(again.margin(values), margin)
    parts = again.contributions(values)
    rest = margin - parts.sum(axis=1)
    assert np.allclose(rest, rest[0], atol=1e-4)
    assert again.gains().argmax() == 0
    assert again.gains().sum() == pytest.approx(1)


def test_noise_moves_scores_and_what_is_made_of_them_and_nothing_else(archive):
    given = StackOptions(
        dataset="isic2024", root=archive / "train", scores=[str(archive / "train/net.csv")]
    )
    rows, _ = load_rows(given)
    noisy = rows.noisy(0.5, np.random.default_rng(0))
    moved = [
        name
        for at, name in enumerate(rows.features.names)
        if not np.array_equal(
            rows.features.values[:, at], noisy.features.values[:, at], equal_nan=True
        )
    ]
    assert moved == [n for n in rows.features.names if n.startswith("score_net")]
    assert noisy.manifest["score_net"].between(0, 1).all()
    assert rows.noisy(0.0, np.random.default_rng(0)) is rows


def test_features_that_new_rows_lack_are_missing_and_told(archive, caplog):
    frame = lesions(1).rename(columns={"isic_id": "image_id"}).drop(columns="score")
    labels = frame["target"].to_numpy(float)
    rows = StackRows(frame, make_features(frame))
    inputs = Inputs.from_dict(json.loads(json.dumps(Inputs.fit(rows, labels).to_dict())))
    fewer = frame.drop(columns="tbp_lv_norm_color")
    lean = StackRows(fewer, make_features(fewer))
    matrix = inputs.matrix(lean)
    assert np.isnan(matrix.values[:, inputs.names.index("tbp_lv_norm_color")]).all()
    assert matrix.values.shape == (ROWS, len(inputs.names))


def test_a_missing_library_is_named_with_what_installs_it(archive, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "xgboost", None)
    words = ["stack", "train", "--dataset", "isic2024", "--root", str(archive / "train"),
             "--out", str(tmp_path / "run")]  # fmt: skip
    assert run_commands("lesion", "", COMMANDS, words) == 1
    said = capsys.readouterr().err
    assert "xgboost" in said and "pip install 'lesion-pipeline[boost]'" in said
    assert not (tmp_path / "run").exists()
    assert run_commands("lesion", "", COMMANDS, [*words, "--algorithms", "lightgbn"]) == 2
    assert "did you mean 'lightgbm'" in capsys.readouterr().err
    assert booster_names() == ("catboost", "lightgbm", "xgboost")


def test_a_stack_needs_no_torch(run):
    code = (
        "import sys, pipelines.stack.train, pipelines.stack.predict, lesioncore.readers as r; "
        "r.reader_names(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert Run.load(run, "lesion stack").members == 3


def test_measured_masks_become_features_and_foreign_scores_do_not(archive, tmp_path, monkeypatch):
    from lesioncore.cache import measured
    from lesioncore.measurements import MEASUREMENTS

    table = pd.read_csv(archive / "train" / "train-metadata.csv").assign(score_weight=1.0)
    table.to_csv(tmp_path / "train-metadata.csv", index=False)
    figures = pd.DataFrame(2.0, index=range(ROWS - 10), columns=list(MEASUREMENTS))
    figures.insert(0, "image_id", table["isic_id"][10:].to_numpy())
    monkeypatch.setattr(measured, "read_measurements", lambda folder: figures)
    rows, _ = load_rows(StackOptions(dataset="isic2024", root=tmp_path, masks=tmp_path))
    found = dict(zip(rows.features.names, rows.features.values.T, strict=True))
    assert (
        np.isnan(found["mask_asymmetry"][:10]).all() and (found["mask_asymmetry"][10:] == 2).all()
    )
    assert (found["mask_diameter_to_reported"][10:] > 0).all()
    assert "mask_delta_e_patient_z" in found
    assert not any(name.startswith("score") for name in found)
