"""The page of anybody's predictions is whole, says what it is, and has the numbers of evaluate."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesioncore.commands import run_commands
from lesioncore.errors import LesionError
from lesioncore.metrics import number_needed_to_biopsy, roc_auc, top_k_sensitivity
from pipelines.commands import COMMANDS
from pipelines.report import report
from pipelines.report_config import ReportConfig
from pipelines.report_headlines import count_text, headlines, one_in, operating_words
from pipelines.report_patients import LESIONS, patients_section
from tests.pipelines.test_report import Page


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    generator = np.random.default_rng(6)
    y = (generator.random(900) < 0.12).astype(int)
    shift = generator.normal(size=40)[np.arange(900) % 40]
    frame = pd.DataFrame({"isic_id": [f"ISIC_{i:04d}" for i in range(900)], "target": y})
    for name, strength in (("malignant", 3.0), ("older", 1.0)):
        z = generator.normal(size=900) + shift + strength * y - 3
        frame[name] = 1 / (1 + np.exp(-z))
    frame["patient_id"] = [f"IP_{i % 40}" for i in range(900)]
    frame["dx"] = np.where(y == 1, np.where(np.arange(900) % 9 == 0, "bcc", "mel"), "nv")
    frame["age_approx"] = generator.integers(20, 85, size=900)
    frame["sex"] = np.where(np.arange(900) % 2 == 0, "female", "male")
    return frame


def made(folder: Path, table: pd.DataFrame, **options) -> tuple[str, Page]:
    columns = [name for name in ("isic_id", "malignant", "older") if name in table]
    table[columns].to_csv(folder / "p.csv", index=False)
    table.drop(columns=columns[1:]).to_csv(folder / "labels.csv", index=False)
    options = {"labels": folder / "labels.csv", "resamples": 40} | options
    out = folder / "report.html"
    report(ReportConfig(predictions=folder / "p.csv", out=out, **options))
    source = out.read_text(encoding="utf-8")
    return source, Page(source)


@pytest.fixture(scope="module")
def one(table, tmp_path_factory) -> tuple[str, Page]:
    return made(tmp_path_factory.mktemp("one"), table, title="Our model <3")


@pytest.fixture(scope="module")
def two(table, tmp_path_factory) -> tuple[str, Page]:
    folder = tmp_path_factory.mktemp("two")
    table[["isic_id"]].assign(prob=table["older"]).to_csv(folder / "older.csv", index=False)
    return made(folder, table.drop(columns="older"), against=[folder / "older.csv"])


def test_the_page_is_whole_and_fetches_nothing(one, two) -> None:
    for source, page in (one, two):
        assert page.open == []
        assert "<script" not in source
        for value in page.attributes("src") + page.attributes("href"):
            assert value.startswith(("#", "data:")), value
        outside = re.sub(r'xmlns(:\w+)?="[^"]*"', "", source)
        assert not re.search(r"https?://|@import|url\((?!#)", outside)
        ids = page.attributes("id")
        assert len(ids) == len(set(ids))
        for target in page.attributes("href"):
            assert target[1:] in ids


def test_the_first_screen_says_what_it_is_in_words(one, table) -> None:
    text = one[1].text
    first = text[: text.index("AUC ")]
    positives = int(table["target"].sum())
    assert "Our model <3" in first
    assert "A computer model scored 900 photographs of skin lesions of 40 patients" in first
    assert f"{positives} of the lesions ({one_in(positives / 900)}) are known to be malignant" in (
        first
    )
    assert "Research use. Not a diagnosis." in first
    assert re.search(r"\d+ of 100 malignant lesions are called suspicious \(\d+ to \d+\)", first)
    assert "times in 100, a malignant lesion gets a higher score than a benign one" in first


def test_it_shows_the_numbers_of_evaluate(one, table) -> None:
    text, y, s = one[1].text, table["target"], table["malignant"]
    assert f"AUC {roc_auc(y, s):.3f}" in text
    assert (
        f"number needed to biopsy at 80% sensitivity {number_needed_to_biopsy(y, s, 0.8):.1f}"
        in (text)
    )
    assert f"{top_k_sensitivity(y, s, table['patient_id']):.3f}" in text
    for disease in ("melanoma", "basal cell carcinoma", "nevus"):
        assert disease in text
    assert "n = " in text  # basal cell carcinoma: too few for a claim
    for name in ("ROC", "Precision over recall", "Decision curve", "Calibration", "Subgroups"):
        assert name in text


def test_figures_have_words_for_who_cannot_see_them(one) -> None:
    figures = [given for tag, given in one[1].tags if tag == "svg" and given.get("role") == "img"]
    assert len(figures) >= 6
    assert all(given.get("aria-label") for given in figures)
    assert "var(--accent)" in one[0]
    assert not re.search(r"#0a0b0\d", one[0])


def test_two_files_are_compared(two) -> None:
    text = two[1].text
    assert "2 computer models scored" in text
    assert "p − older" in text
    assert "by the AUC p ranks better" in text
    assert "DeLong by patient_id" in text


def test_ducklings_are_marked_and_counted(one, table) -> None:
    page = one[1]
    assert "Patient by patient" in page.text
    marks = [given for tag, given in page.tags if given.get("class") == "duckling"]
    assert marks
    titles = re.findall(r"<title>(ISIC_\d+), score [\d.e-]+, place (\d+) of (\d+)</title>", one[0])
    assert len(titles) == len(marks)
    by_id = table.set_index("isic_id")
    for name, place, of in titles[:5]:
        own = table[table["patient_id"] == by_id.loc[name, "patient_id"]]
        assert by_id.loc[name, "target"] == 1
        assert int(of) == len(own)
        assert int(place) == 1 + (own["malignant"] > by_id.loc[name, "malignant"]).sum()


def test_patients_with_few_lesions_have_no_spread() -> None:
    y, s = np.array([0.0, 1.0] * 6), np.linspace(0.1, 0.9, 12)
    ids = np.arange(12)
    assert patients_section(s, y, np.repeat(["a", "b"], 6), ids, True) is None
    found = patients_section(s, y, ["a"] * LESIONS + ["b"] * (12 - LESIONS), ids, True)
    assert found is not None
    assert (found["patients"], found["positives"]) == (1, LESIONS // 2)
    assert found["strips"][0].lesions == LESIONS


def test_scores_that_are_no_probabilities_have_a_page(table, tmp_path) -> None:
    ranked = table.assign(malignant=10 * table["malignant"] - 2)
    _, page = made(tmp_path, ranked[["isic_id", "target", "malignant"]])
    assert page.open == []
    assert "The scores are no probabilities" in page.text
    assert "Decision curve" not in page.text
    assert "The patient of a lesion is not known" in page.text


def test_few_malignant_lesions_are_said_and_left_out_ones_too(table, tmp_path) -> None:
    few = table[(table["target"] == 0) | (np.arange(900) < 60)]
    predicted = few.assign(malignant=few["malignant"].where(few["isic_id"] != "ISIC_0001"))
    _, page = made(tmp_path, predicted, max_failed=1)
    assert re.search(r"Only \d malignant lesions", page.text)
    assert "Left out: 1 rows without a score." in page.text


def test_one_class_and_one_of_two_sources(table, tmp_path, capsys) -> None:
    with pytest.raises(LesionError, match="no ranking to score"):
        made(tmp_path, table.assign(target=0))
    assert not (tmp_path / "report.html").exists()
    with pytest.raises(ValueError, match="neither --run and --predictions"):
        ReportConfig()
    arguments = ["report", "--run", "x", "--predictions", "y"]
    assert run_commands("lesion", "", COMMANDS, arguments) == 2
    assert "both --run and --predictions" in capsys.readouterr().err
    with pytest.raises(ValueError, match="a run has its own"):
        ReportConfig(run=Path("x"), labels=Path("y"))


def test_words_of_numbers() -> None:
    assert one_in(1 / 13) == "1 in 13"
    assert one_in(0.001) == "1 in 1,000"
    assert one_in(0.5) == "50 in 100"
    assert (count_text(1.73), count_text(2.0), count_text(515.9)) == ("1.7", "2", "516")
    rate = {"value": 0.9, "low": 0.8, "high": 1.0}
    point = {"threshold": 0.2, "chosen": "given", "sensitivity": rate, "specificity": rate}
    words = operating_words(point, 0.001)
    assert words is not None
    assert (words["found"], words["false"], words["false_range"]) == (90, 10, "0 to 20")
    assert (words["many"], words["malignant_of_many"]) == ("10,000", "10")
    assert (words["called_of_many"], words["found_of_many"]) == ("1,008", "9")
    nothing = {"value": None, "low": None, "high": None}
    assert operating_words(point | {"sensitivity": nothing}, 0.1) is None
    scores = dict.fromkeys(("auc", "pauc", "number_needed_to_biopsy_90"), nothing)
    assert headlines(scores, 0.1, True) == []
