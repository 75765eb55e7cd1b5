"""A photograph's probability is calibrated, with its interval, its flag and what they rest on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from lesioncore.calibration import fit_calibration, write_calibration
from pipelines import LesionPipeline
from pipelines.commands import main
from tests.e2e.conftest import TinyRun

COLUMNS = ["malignant_raw", "malignant_low", "malignant_high", "flagged", "prediction_set"]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a calibration that moves every score."""
    rng = np.random.default_rng(0)
    labels = (rng.random(400) < 0.3).astype(float)
    scores = expit(-1 + 0.4 * labels + 0.3 * rng.normal(size=400))
    fitted = fit_calibration(
        labels, scores, np.arange(400), name="clinic", model="classification", policy="target",
        method="platt", resamples=50,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("own") / "calibration.json"
    write_calibration(path, fitted)
    return path


@pytest.fixture
def predicted(tiny_run: TinyRun, tmp_path: Path, capsys, monkeypatch):
    """Return a function that predicts three photographs: what it printed, and the table."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[str, pd.DataFrame]:
        photos = str(tiny_run.root / "images")
        flags = ["--limit=3", "--overlays=null", "--device=cpu"]
        assert main(["predict", photos, "--run", str(tiny_run.folder), *flags, *words]) == 0
        return capsys.readouterr().out, pd.read_csv("predictions.csv")

    return call


def test_a_run_s_own_calibration_is_used_and_stated(predicted, tiny_run: TinyRun) -> None:
    said, table = predicted()
    assert (tiny_run.folder / "classification" / "calibration.json").is_file()
    assert set(COLUMNS) <= set(table)
    for part in ("calibration:", "prevalence", "operating point: flagged from",
                 "for a sensitivity of 90%", "flagged, prediction set:"):  # fmt: skip
        assert part in said


def test_without_it_the_scores_are_as_before(predicted) -> None:
    said, table = predicted("--calibration=none")
    assert list(table.columns) == [
        "image_id", "malignant", "mask_status", "focus", "model", "reason", "mask_score",
        "missing", "image",
    ]  # fmt: skip
    assert "calibration" not in said and "flagged" not in said


def test_a_file_and_a_prevalence_of_one_s_own(predicted, own: Path) -> None:
    _, raw = predicted("--calibration=none")
    said, table = predicted(f"--calibration={own}")
    assert np.allclose(table["malignant_raw"], raw["malignant"])
    assert not np.allclose(table["malignant"], raw["malignant"])
    assert (table["malignant_low"] < table["malignant"]).all()
    assert "clinic" in said and f"{table['malignant'][0]:.3f} [" in said
    moved, there = predicted(f"--calibration={own}", "--prevalence=0.01")
    assert (there["malignant"] < table["malignant"]).all()
    assert there["flagged"].equals(table["flagged"])
    assert "stated 1.00%" in moved


def test_in_python(tiny_run: TinyRun, own: Path) -> None:
    pipeline = LesionPipeline.load(tiny_run.folder, device="cpu", calibration=str(own))
    result = pipeline(min((tiny_run.root / "images").iterdir()))
    found = result.calibrated
    assert found is not None and found.malignant == result.probability != found.raw
    assert found.low < result.probability < found.high
    assert found.prediction_set in ("benign", "malignant", "both", "none")


def test_the_scored_test_images_of_a_run_are_calibrated(tiny_run: TinyRun) -> None:
    table = pd.read_csv(tiny_run.folder / "predictions.csv")
    assert set(COLUMNS) <= set(table)
    held_out = pd.read_csv(tiny_run.folder / "classification" / "oof.csv")
    assert not set(COLUMNS) & set(held_out)
