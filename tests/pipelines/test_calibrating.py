"""`lesion calibrate`: refits on one's own cases, says before and after, and overwrites nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from clsstage.config import TrainConfig
from lesioncore.calibration import CALIBRATION_FILE, read_calibration
from lesioncore.files import write_json, write_table
from lesioncore.runs import Run
from pipelines.commands import main
from weights.card import WeightCard

FAST = ["--resamples", "40"]


def cases(n: int = 900, seed: int = 0) -> pd.DataFrame:
    """Scores that are too sure and too high, three images a patient."""
    rng = np.random.default_rng(seed)
    truth = -2 + 1.8 * rng.normal(size=n)
    return pd.DataFrame(
        {
            "image_id": [f"{k:04d}" for k in range(n)],
            "patient_id": [f"P{k // 3}" for k in range(n)],
            "target": (rng.random(n) < expit(truth)).astype(int),
            "malignant": expit(2 * truth + 2),
            "model": "cls",
        }
    )


@pytest.fixture
def tables(tmp_path: Path) -> tuple[str, str]:
    """A file of predictions and one of labels."""
    table = cases()
    table[["image_id", "malignant", "model"]].to_csv(tmp_path / "p.csv", index=False)
    shuffled = table[["image_id", "patient_id", "target"]].sample(frac=1, random_state=1)
    shuffled.to_csv(tmp_path / "clinic.csv", index=False)
    return str(tmp_path / "p.csv"), str(tmp_path / "clinic.csv")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of two members, as far as a calibration looks at it."""
    folder = tmp_path / "runs" / "cls"
    made = Run.open(folder, "clsstage", TrainConfig(dataset="ham10000", out=folder, folds=2))
    table = cases(seed=4)
    held_out = table.assign(member=0)[["image_id", "target", "member", "malignant"]]
    write_table(folder / "oof.csv", held_out)
    split = pd.DataFrame({"image_id": table["image_id"], "group": table["patient_id"]})
    split["fold"], split["role"], split["members"] = np.arange(900) // 3 % 2, "train", 2
    write_table(folder / "split.csv", split)
    card = WeightCard(
        name="x", kind="classifier", architecture={}, preprocessing={"policy": "cancer+ak"}
    )
    write_json(made.member(0) / "card.json", card.to_dict())
    (made.member(0) / "weights.safetensors").touch()
    made.finish(members=2)
    return folder


def calibrate(*words: object) -> int:
    return main(["calibrate", *map(str, words), *FAST])


def test_own_cases_give_a_file_and_the_evidence(tables, tmp_path, capsys) -> None:
    predictions, labels = tables
    out = tmp_path / "calibration.json"
    assert calibrate("--predictions", predictions, "--labels", labels, "--out", out) == 0
    found, said = read_calibration(out), capsys.readouterr()
    assert (found.method.name, found.method.slope) == ("platt", pytest.approx(0.5, abs=0.1))
    on = found.fitted_on
    assert (on.n, on.groups, on.grouped_by, on.model) == (900, 300, "patient_id", "cls")
    assert on.name == "clinic"
    for part in ("before", "after", "log loss", "Brier score", "calibration error", "reliability",
                 "coverage, held out", "decided", "flagged from", "sensitivity of 90%",
                 "not a diagnosis"):  # fmt: skip
        assert part in said.out
    scores = found.evidence["scores"]
    for name in ("log_loss", "brier", "ece"):
        assert scores[name]["after"]["value"] < scores[name]["before"]["value"]
        assert scores[name]["difference"]["high"] < 0
    assert f"--calibration {out}" in said.err


def test_after_is_of_cases_held_out_from_the_map(tables, tmp_path) -> None:
    predictions, labels = tables
    out = tmp_path / "c.json"
    words = ("--predictions", predictions, "--labels", labels, "--method", "isotonic", "--out", out)
    assert calibrate(*words) == 0
    found, table = read_calibration(out), cases()
    own = found.method(table["malignant"])
    held_out = found.evidence["scores"]["brier"]["after"]["value"]
    assert held_out > np.mean((own - table["target"]) ** 2)


def test_flags_and_levels_are_taken(tables, tmp_path, capsys) -> None:
    predictions, labels = tables
    out = tmp_path / "c.json"
    assert calibrate(
        "--predictions", predictions, "--labels", labels, "--out", out, "--sensitivity", ".8",
        "--alpha", ".2", "--method", "temperature", "--name", "Clinic A", "--prevalence", ".01",
    ) == 0  # fmt: skip
    found = read_calibration(out)
    assert found.method.name == "temperature"
    assert (found.operating_point.wanted, found.conformal.alpha) == (0.8, 0.2)
    assert (found.fitted_on.name, found.at_prevalence) == ("Clinic A", 0.01)
    assert "stated 1.00%" in capsys.readouterr().out


def test_the_scores_before_an_earlier_calibration_are_taken(tables, tmp_path, caplog) -> None:
    predictions, labels = tables
    table = pd.read_csv(predictions, dtype={"image_id": str})
    table = table.assign(malignant_raw=table["malignant"], malignant=table["malignant"] / 3)
    table.to_csv(tmp_path / "again.csv", index=False)
    words = ("--predictions", tmp_path / "again.csv", "--labels", labels)
    assert calibrate("--predictions", predictions, "--labels", labels, "--out",
                     tmp_path / "one.json") == 0  # fmt: skip
    assert calibrate(*words, "--out", tmp_path / "two.json") == 0
    one, two = (read_calibration(tmp_path / name) for name in ("one.json", "two.json"))
    assert one.method == two.method
    assert "malignant_raw" in caplog.text
    assert calibrate(*words, "--score-column", "malignant", "--out", tmp_path / "3.json") == 0
    assert "calibrated already" in caplog.text


def test_a_run_gets_one_from_its_own_held_out_scores(run, capsys) -> None:
    assert calibrate("--run", run, "--in-run") == 0
    found = read_calibration(run / CALIBRATION_FILE)
    on = found.fitted_on
    assert (on.name, on.policy) == ("ham10000, out-of-fold images", "cancer+ak")
    assert (on.n, on.groups, found.method.name) == (900, 300, "platt")
    assert "flagged from" in capsys.readouterr().out
    # The folder of a `lesion run` holds it as its stage 2.
    run.rename(run.with_name("classification"))
    assert calibrate("--run", run.parent, "--in-run", "--replace", "--sensitivity", ".95") == 0
    again = read_calibration(run.with_name("classification") / CALIBRATION_FILE)
    assert again.operating_point.wanted == 0.95


def test_a_run_s_own_file_is_not_overwritten_unasked(run, tables, tmp_path, capsys) -> None:
    predictions, labels = tables
    assert calibrate("--run", run, "--in-run") == 0
    before = (run / CALIBRATION_FILE).read_bytes()
    for words in (
        ("--run", run, "--in-run"),
        ("--predictions", predictions, "--labels", labels, "--out", run / CALIBRATION_FILE),
    ):
        assert calibrate(*words) == 2
        assert "--replace" in capsys.readouterr().err
    assert (run / CALIBRATION_FILE).read_bytes() == before
    words = ("--run", run, "--predictions", predictions, "--labels", labels)
    assert calibrate(*words, "--in-run", "--replace") == 0
    assert read_calibration(run / CALIBRATION_FILE).fitted_on.name == "clinic"


def test_what_the_run_has_is_tried_on_the_same_cases(run, tables, tmp_path, capsys) -> None:
    predictions, labels = tables
    assert calibrate("--run", run, "--in-run") == 0
    capsys.readouterr()
    words = ("--run", run, "--predictions", predictions, "--labels", labels)
    assert calibrate(*words, "--out", tmp_path / "c.json") == 0
    said = capsys.readouterr().out
    assert "by the calibration that the run has" in said
    assert "its operating point, fitted for a sensitivity of 90%" in said


def test_few_cases_of_one_s_own_are_said(tmp_path, capsys) -> None:
    table = cases(60)
    table.drop(columns="patient_id").to_csv(tmp_path / "p.csv", index=False)
    assert calibrate("--predictions", tmp_path / "p.csv", "--out", tmp_path / "c.json") == 0
    said = capsys.readouterr()
    assert "note:" in said.out and "too few" in said.out
    assert "no patient or lesion is known" in said.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "nothing to calibrate on"),
        (("--labels", "l.csv"), 2, "nothing to calibrate on"),
        (("--run", "r", "--labels", "l.csv"), 2, "--labels without --predictions"),
        (("--predictions", "p.csv", "--in-run"), 2, "without a run"),
        (("--run", "r", "--in-run", "--out", "c.json"), 2, "--in-run and --out"),
        (("--predictions", "p.csv", "--alpha", "2"), 2, "--alpha is 2"),
        (("--predictions", "p.csv", "--sensitivity", "0"), 2, "--sensitivity is 0"),
        (("--predictions", "p.csv", "--method", "spline"), 2, "spline"),
        (("--run", "nowhere"), 1, "no run in nowhere"),
        (("--predictions", "nowhere.csv"), 1, "no such file: nowhere.csv"),
    ],
)
def test_wrong_calls_say_what_is_wrong(words, code, said, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert calibrate(*words) == code
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error


def test_scores_that_are_no_probabilities_are_refused(tmp_path, capsys) -> None:
    table = cases(200)
    table.assign(malignant=table["malignant"] * 9).to_csv(tmp_path / "p.csv", index=False)
    assert calibrate("--predictions", tmp_path / "p.csv", "--out", tmp_path / "c.json") == 1
    assert "not probabilities" in capsys.readouterr().err
    assert not (tmp_path / "c.json").exists()


@pytest.mark.real_data
def test_public_predictions_are_calibrated_by_patient(real_data: Path, tmp_path, capsys) -> None:
    folder = real_data / "isic2024_slice3d_sample"
    assert calibrate(
        "--predictions", folder / "384_v2b1_5k.csv", "--labels", folder / "train-metadata.csv",
        "--out", tmp_path / "c.json",
    ) == 0  # fmt: skip
    found = json.loads((tmp_path / "c.json").read_text())
    assert found["fitted_on"]["groups"] == 614 and found["method"] == "platt"
    scores = found["evidence"]["scores"]
    assert scores["log_loss"]["difference"]["high"] < 0
    for name, held in found["evidence"]["coverage"].items():
        assert held["coverage"]["low"] <= 0.9 <= held["coverage"]["high"], name
