"""A calibration comes from held-out scores; it is used, stated and left out where it should be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from clsstage.calibrated import COLUMNS, calibrated_table
from clsstage.calibration import calibrate_run
from clsstage.config import EvaluateConfig, PredictConfig
from clsstage.evaluation import evaluate
from clsstage.prediction import predict
from clsstage.predictor import LesionClassifier
from clsstage.targets import create_target
from lesioncore.calibration import (
    CALIBRATION_FILE,
    Calibration,
    fit_calibration,
    read_calibration,
    write_calibration,
)
from lesioncore.errors import LesionError, UsageError
from lesioncore.files import read_json
from lesioncore.images import read_image
from lesioncore.runs import Run
from tests.clsstage.conftest import COUNT, of_run


@pytest.fixture(scope="module")
def platt() -> Calibration:
    """A calibration with everything in it, for the scores of networks that know little."""
    rng = np.random.default_rng(0)
    labels = (rng.random(400) < 0.3).astype(float)
    scores = expit(-1 + 0.4 * labels + 0.3 * rng.normal(size=400))
    return fit_calibration(
        labels, scores, np.arange(400), name="elsewhere", model="cls", policy="target",
        method="platt", resamples=50,
    )  # fmt: skip


@pytest.fixture
def run(two_folds, tmp_path) -> Path:
    """A copy of the finished run, to change."""
    return Path(shutil.copytree(two_folds.out, tmp_path / "cls"))


def predicted(two_folds, tmp_path: Path, **changes) -> pd.DataFrame:
    values = of_run(two_folds, tmp_path / "p.csv") | changes
    assert predict(PredictConfig(**values)) == 0
    return pd.read_csv(tmp_path / "p.csv")


def test_training_ends_with_a_calibration_of_held_out_scores(two_folds) -> None:
    found = read_calibration(two_folds.out / CALIBRATION_FILE)
    held_out = pd.read_csv(two_folds.out / "oof.csv")
    on = found.fitted_on
    assert (on.n, on.positives) == (len(held_out), int(held_out["target"].sum()))
    assert (on.name, on.model, on.policy) == ("phantom, out-of-fold images", "cls", "target")
    assert found.operating_point.wanted == two_folds.sensitivity
    groups = pd.read_csv(two_folds.out / "split.csv").set_index("image_id")["group"]
    assert on.groups == groups.reindex(held_out["image_id"]).nunique()
    page = (two_folds.out / "summary.md").read_text()
    assert "What its probabilities mean" in page and "sensitivity of 90%" in page


def test_the_same_comes_of_the_finished_run(two_folds) -> None:
    again = calibrate_run(Run.load(two_folds.out, "clsstage"))
    kept = read_json(two_folds.out / CALIBRATION_FILE)
    made = json.loads(json.dumps(again.to_dict()))
    assert {**made, "created": ""} == {**kept, "created": ""}


def test_out_of_fold_scores_are_of_the_network_alone(two_folds, run, platt, tmp_path) -> None:
    write_calibration(run / CALIBRATION_FILE, platt)
    table = predicted(two_folds, tmp_path, weights=run, members="out-of-fold")
    assert not set(COLUMNS) & set(table)
    held_out = pd.read_csv(two_folds.out / "oof.csv").set_index("image_id")
    assert np.allclose(held_out["malignant"].reindex(table["image_id"]), table["malignant"])
    assert not set(COLUMNS) & set(held_out)


def test_a_run_without_a_calibration_predicts_as_before_byte_for_byte(
    two_folds, run, tmp_path
) -> None:
    (run / CALIBRATION_FILE).unlink()
    predicted(two_folds, tmp_path, weights=run)
    old = (tmp_path / "p.csv").read_bytes()
    table = pd.read_csv(tmp_path / "p.csv")
    assert list(table.columns) == [
        "image_id", "malignant", "mask_status", "focus", "model", "reason", "missing",
    ]  # fmt: skip
    predicted(two_folds, tmp_path, calibration="none")
    assert (tmp_path / "p.csv").read_bytes() == old


def test_predictions_go_through_the_calibration(two_folds, run, platt, tmp_path, caplog) -> None:
    write_calibration(run / CALIBRATION_FILE, platt)
    raw = predicted(two_folds, tmp_path, weights=run, calibration="none")
    caplog.clear()
    table = predicted(two_folds, tmp_path, weights=run)
    assert list(table.columns) == [*raw.columns, *COLUMNS]
    assert np.array_equal(table["malignant_raw"], raw["malignant"])
    said = platt.apply(raw["malignant"].to_numpy())
    assert np.allclose(table["malignant"], said.malignant, rtol=1e-12)
    assert (table["malignant_low"] < table["malignant"]).all()
    assert (table["malignant"] < table["malignant_high"]).all()
    assert table["flagged"].tolist() == said.flagged.tolist()
    assert table["prediction_set"].tolist() == said.prediction_set.tolist()
    for part in ("elsewhere", f"flagged from {platt.threshold:.4f}", "sensitivity of 90%",
                 "are those that the calibration was fitted on"):  # fmt: skip
        assert part in caplog.text


def test_a_file_of_ones_own_wins_and_its_model_is_checked(
    two_folds, platt, tmp_path, caplog
) -> None:
    write_calibration(tmp_path / "own.json", platt)
    own = str(tmp_path / "own.json")
    table = predicted(two_folds, tmp_path, calibration=own)
    assert "elsewhere" in caplog.text and "was fitted on scores of" not in caplog.text
    assert not np.allclose(table["malignant"], table["malignant_raw"])
    (tmp_path / "other").mkdir()
    shutil.copytree(two_folds.out, tmp_path / "other" / "name")
    predicted(two_folds, tmp_path, weights=tmp_path / "other" / "name", calibration=own)
    assert "was fitted on scores of 'cls', and this is 'name'" in caplog.text
    with pytest.raises(LesionError, match="no such file"):
        predicted(two_folds, tmp_path, calibration=str(tmp_path / "none.json"))


def test_a_stated_prevalence_moves_probabilities_and_is_stated(
    two_folds, run, platt, tmp_path, caplog
) -> None:
    write_calibration(run / CALIBRATION_FILE, platt)
    here = predicted(two_folds, tmp_path, weights=run)
    there = predicted(two_folds, tmp_path, weights=run, prevalence=0.01)
    shift = logit(0.01) - logit(platt.fitted_on.prevalence)
    assert np.allclose(logit(there["malignant"]), logit(here["malignant"]) + shift)
    assert there["flagged"].equals(here["flagged"])
    assert "the stated prevalence is 1.00%" in caplog.text
    assert f"{platt.fitted_on.prevalence:.2%}" in caplog.text
    # Without a calibration the scores are moved from where the network learned.
    plain = predicted(two_folds, tmp_path, weights=run, calibration="none", prevalence=0.01)
    cards = [read_json(run / f"member-{k}" / "card.json") for k in (0, 1)]
    learned = np.mean([card["preprocessing"]["prevalence"] for card in cards])
    shift = logit(0.01) - logit(learned)
    assert np.allclose(logit(plain["malignant"]), logit(plain["malignant_raw"]) + shift)


def test_a_batch_far_from_the_prevalence_is_noticed(two_folds, platt, caplog) -> None:
    from clsstage.calibrated import warn_of_drift

    warn_of_drift(pd.Series(np.full(250, 0.9)), platt)
    assert "90.00%" in caplog.text and f"{platt.prevalence:.2%}" in caplog.text
    caplog.clear()
    warn_of_drift(pd.Series(np.full(250, platt.prevalence)), platt)
    warn_of_drift(pd.Series(np.full(100, 0.9)), platt)
    assert caplog.text == ""


def test_what_cannot_go_together_is_refused(two_folds, tmp_path) -> None:
    values = of_run(two_folds, tmp_path / "p.csv") | {"members": "out-of-fold"}
    with pytest.raises(UsageError, match="out-of-fold with a calibration"):
        PredictConfig(**values, prevalence=0.1)
    with pytest.raises(UsageError, match=r"--prevalence is 1\.5"):
        PredictConfig(**of_run(two_folds, tmp_path / "p.csv"), prevalence=1.5)


def test_a_member_alone_and_one_image_use_the_run_s_calibration(
    run, platt, manifest, cache
) -> None:
    write_calibration(run / CALIBRATION_FILE, platt)
    one = LesionClassifier.load(run / "member-0", device="cpu")
    assert one.calibration is not None and one.calibration.fitted_on == platt.fitted_on
    both = LesionClassifier.load(run, device="cpu")
    row = manifest.iloc[3]
    said = both.predict(read_image(row["image"]), cache.read(row["image_id"]), age=row["age"])
    assert said.calibrated.raw != said.malignant == said.calibrated.malignant
    assert said.calibrated.low < said.malignant < said.calibrated.high
    assert said.malignant == platt.apply_one(said.calibrated.raw).malignant
    raw = LesionClassifier.load(run, device="cpu", calibration="none")
    plain = raw.predict(read_image(row["image"]), cache.read(row["image_id"]), age=row["age"])
    assert plain.calibrated is None and plain.malignant == said.calibrated.raw


def test_diagnoses_keep_their_shares_and_add_up(platt) -> None:
    target = create_target("diagnosis-4", "cancer+ak")
    classes = np.random.default_rng(1).dirichlet(np.ones(4), size=20)
    names = [f"p_{name}" for name in target.classes]
    bad = [name for name in names if name.removeprefix("p_") in target.malignant]
    table = pd.DataFrame(classes, columns=names)
    table.insert(0, "malignant", table[bad].sum(axis=1))
    table.loc[3, :] = np.nan
    found = calibrated_table(table, platt, target)
    read = found["malignant"].notna()
    assert read.sum() == 19 and found.loc[3].isna().all()
    assert np.allclose(found.loc[read, names].sum(axis=1), 1)
    assert np.allclose(found.loc[read, bad].sum(axis=1), found.loc[read, "malignant"])
    assert list(found.columns)[-4:] == names


def test_rankings_of_a_calibrated_run_stay(two_folds, run, platt, tmp_path, capsys) -> None:
    from lesioncore.metrics import partial_auc, roc_auc

    write_calibration(run / CALIBRATION_FILE, platt)
    options = of_run(two_folds, tmp_path) | {"weights": run, "subset": "all", "resamples": 20}
    found = {}
    for word in ("auto", "none"):
        assert evaluate(EvaluateConfig(**options, calibration=word)) == 0
        found[word] = json.loads(capsys.readouterr().out)
    assert found["auto"]["auc"] == found["none"]["auc"]
    assert found["auto"]["pauc"] == found["none"]["pauc"]
    assert found["auto"]["brier"] != found["none"]["brier"]
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert len(table) == COUNT
    for metric in (roc_auc, partial_auc):
        assert metric(table["target"], table["malignant"]) == pytest.approx(
            found["none"]["auc" if metric is roc_auc else "pauc"]["value"]
        )


def test_a_run_that_lost_its_held_out_scores_says_so(run) -> None:
    (run / "oof.csv").unlink()
    with pytest.raises(LesionError, match="no scores to calibrate on"):
        calibrate_run(Run.load(run, "clsstage"))


def test_a_shipped_classifier_takes_its_calibration_along(
    run, platt, tmp_path, monkeypatch
) -> None:
    import weights.resolve
    import weights.shipping

    shelf = tmp_path / "shelf"
    monkeypatch.setattr(weights.resolve, "SHIPPED", shelf)
    monkeypatch.setattr(weights.shipping, "SHIPPED", shelf)
    write_calibration(run / CALIBRATION_FILE, platt)
    weights.shipping.ship(run / "member-0", "tiny", training_data="phantoms", limits="tests")
    shipped = LesionClassifier.load("tiny", device="cpu")
    assert shipped.calibration is not None
    assert shipped.calibration.to_dict() == platt.to_dict()
    assert LesionClassifier.load(device="cpu").calibration is not None  # what ships is the default
