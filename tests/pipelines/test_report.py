"""The report is one file that holds everything, says what it is, and claims nothing it cannot."""

from __future__ import annotations

import html.parser
import re
from pathlib import Path

import numpy as np
import pytest

from lesioncore.errors import LesionError
from lesioncore.files import read_json
from pipelines.evaluation import evaluate_run
from pipelines.report import render, report
from pipelines.report_config import ReportConfig
from pipelines.report_data import read_run
from pipelines.report_malignancy import wilson
from pipelines.report_page import interval_of
from pipelines.report_text import duration

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(html.parser.HTMLParser):
    """Collects tags, checks that they nest, and keeps the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "title"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def attributes(self, name: str) -> list[str]:
        return [
            value or "" for _, given in self.tags for key, value in given.items() if key == name
        ]


@pytest.fixture(scope="module")
def evaluated(fake_run):
    evaluate_run(fake_run.paths, fake_run.data, subset="test", resamples=100)
    return fake_run


@pytest.fixture(scope="module")
def source(evaluated) -> str:
    return render(read_run(evaluated.paths.folder), tiles=6, draws=50)


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_the_page_is_whole_and_its_tags_nest(page: Page) -> None:
    assert page.open == []


def test_nothing_is_fetched_from_elsewhere(source: str, page: Page) -> None:
    for value in page.attributes("src") + page.attributes("href") + page.attributes("xlink:href"):
        assert value.startswith(("#", "data:")), value
    outside = re.sub(r'xmlns(:\w+)?="[^"]*"', "", source)
    assert not re.search(r"https?://|@import|url\((?!#)", outside)
    assert "<script" not in source


def test_it_says_what_it_is_not_and_that_phantoms_are_synthetic(page: Page) -> None:
    assert page.text.count("Not a diagnosis") >= 1
    assert "Research use, not a diagnosis." in page.text
    assert "Synthetic data." in page.text
    assert all("Synthetic lesion" in alt for alt in page.attributes("alt"))


def test_it_shows_the_scores_of_the_evaluation(evaluated, page: Page) -> None:
    scores = read_json(evaluated.paths.evaluation / "scores.json")
    for name in ("dice", "jaccard", "auc"):
        assert f"{scores[name]['value']:.3f}" in page.text
        assert f"{scores[name]['low']:.3f} to {scores[name]['high']:.3f}" in page.text


def test_every_picture_and_figure_has_words_for_who_cannot_see_it(page: Page) -> None:
    images = [given for tag, given in page.tags if tag == "img"]
    assert len(images) >= 6
    assert all(given.get("alt") for given in images)
    figures = [given for tag, given in page.tags if tag == "svg" and given.get("role") == "img"]
    assert len(figures) >= 5
    assert all(given.get("aria-label") for given in figures)
    hidden = [given for tag, given in page.tags if tag == "svg" and "role" not in given]
    assert all(given.get("aria-hidden") == "true" for given in hidden)


def test_ids_are_unique_and_links_lead_somewhere(page: Page) -> None:
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    for target in page.attributes("href"):
        if target.startswith("#"):
            assert target[1:] in ids


def test_small_groups_are_counted_and_not_scored(page: Page) -> None:
    assert re.search(r"n = \d+: too few", page.text)


def test_figures_take_their_colours_from_the_page(source: str) -> None:
    assert "var(--accent)" in source
    assert not re.search(r"#0a0b0\d", source)


def test_names_from_an_archive_cannot_break_the_page(evaluated) -> None:
    data = read_run(evaluated.paths.folder)
    data.images.loc[data.images.index[0], "diagnosis"] = "<script>alert(1)</script>"
    assert "<script" not in render(data, tiles=0, draws=20)


def test_without_labels_the_page_still_reads(evaluated) -> None:
    data = read_run(evaluated.paths.folder)
    data.images["label"] = np.nan
    text = Page(render(data, tiles=2, draws=20)).text
    assert "only one class" in text


def test_the_command_writes_the_page_and_prints_where(evaluated, capsys) -> None:
    report(ReportConfig(run=evaluated.paths.folder, tiles=2))
    target = Path(capsys.readouterr().out.strip())
    assert target == evaluated.paths.folder / "report.html"
    assert target.read_text().startswith("<!DOCTYPE html>")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LesionError, match="holds no run") as caught:
        report(ReportConfig(run=tmp_path))
    assert "lesion run" in str(caught.value)


def test_an_unfinished_run_names_the_command_that_goes_on(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("dataset: phantom\n")
    with pytest.raises(LesionError, match="unfinished run") as caught:
        report(ReportConfig(run=tmp_path))
    assert f"lesion run --config {tmp_path / 'run.yaml'}" in str(caught.value)


def test_wilson_holds_the_rate_and_stays_in_range() -> None:
    rates, counts = np.array([0.0, 0.1, 0.5, 1.0]), np.array([3, 50, 1000, 7])
    low, high = wilson(rates, counts)
    assert ((low >= 0) & (low <= rates) & (rates <= high) & (high <= 1)).all()
    assert low[2] == pytest.approx(0.469, abs=1e-3)
    assert high[1] == pytest.approx(0.2136, abs=1e-3)


def test_intervals_of_scores_json_may_be_null() -> None:
    assert np.isnan(interval_of({"value": None, "low": None, "high": None}).value)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3.21, "3.2 s"), (42, "42 s"), (725, "12 min 5 s"), (4020, "1 h 7 min"), (None, "–")],
)
def test_durations_read_as_people_say_them(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


def test_without_a_test_list_the_validation_images_are_scored_and_the_page_says_so(
    fake_run, tmp_path: Path
) -> None:
    import dataclasses
    import shutil

    from lesioncore.splits import make_split, write_split
    from pipelines.run_steps import RunPaths

    folder = Path(shutil.copytree(fake_run.paths.folder, tmp_path / "no-list"))
    paths = RunPaths(folder)
    data = dataclasses.replace(fake_run.data, test=set())
    split = make_split(data.manifest, folds=1, seed=0, labels=data.labels)
    write_split(paths.classification / "split.csv", split)
    held = split.loc[split["fold"] == 0, "image_id"]
    lines = [f"{image_id},0.{number % 9 + 1},full" for number, image_id in enumerate(held)]
    paths.predictions.write_text("image_id,malignant,focus\n" + "\n".join(lines))
    scores = evaluate_run(paths, data, subset="validation", resamples=20)
    assert scores["subset"] == "validation"
    assert scores["n"] == scores["n_masks"] == len(held)
    text = Page(render(read_run(folder), tiles=2, draws=20)).text
    assert "No test list was kept back" in text
    assert "Scores on the validation images" in text
