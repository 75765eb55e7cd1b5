"""The options of a run are those of the stages, written once; presets are configs one can read."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from clsstage.commands import COMMANDS as CLSSTAGE
from clsstage.config import TrainConfig as ClassifierTraining
from lesioncore.errors import UsageError
from lesioncore.flags import parse_config, preset_names
from pipelines.commands import COMMANDS
from pipelines.config import RunConfig
from pipelines.demo import demo_run
from pipelines.run import check_options
from pipelines.run_steps import RunPaths, stage_configs
from segstage.commands import COMMANDS as SEGSTAGE
from segstage.config import TrainConfig as SegmenterTraining

GIVEN = ["--dataset=ham10000", "--root=data", "--out=runs/x"]


def parse(*flags: str) -> RunConfig:
    return parse_config("lesion run", COMMANDS["run"], [*GIVEN, *flags])


def test_every_option_of_a_stage_is_in_the_run_or_decided_by_it() -> None:
    config = parse()
    for section, stage in (
        (config.segmentation, SegmenterTraining),
        (config.classification, ClassifierTraining),
    ):
        names = {item.name for item in dataclasses.fields(stage)}
        own = {item.name for item in dataclasses.fields(section)}
        assert own < names
        # What is left out is said once for the run, or follows from its folder.
        run = {item.name for item in dataclasses.fields(RunConfig)}
        assert names - own <= run | {"masks"}


def test_defaults_and_checks_are_those_of_the_stages() -> None:
    segmenter, classifier = stage_configs(parse(), RunPaths(Path("runs/x")))
    assert segmenter == dataclasses.replace(
        SegmenterTraining(
            dataset="ham10000", root=Path("data"), out=Path("runs/x/segmentation"), folds=2
        )
    )
    assert classifier.masks == Path("runs/x/cache")
    with pytest.raises(UsageError, match="multiple of 32"):
        check_options(parse("--segmentation.size=100"))


def test_without_a_preset_masks_are_out_of_fold() -> None:
    check_options(parse())
    with pytest.raises(UsageError, match="learnt it"):
        check_options(parse("--segmentation.folds=1"))
    check_options(parse("--segmentation.folds=1", "--classification.allow-in-sample-masks"))
    check_options(parse("--segmentation.folds=1", "--classification.focus=full"))
    with pytest.raises(UsageError, match="learnt it"):
        pooled = ["--classification.focus=full", "--classification.mask-pool=true"]
        check_options(parse("--segmentation.folds=1", *pooled))


def test_another_archive_without_masks_is_refused_before_the_work() -> None:
    also = "--classification.also.isic2019=elsewhere"
    with pytest.raises(UsageError, match="needs masks"):
        check_options(parse(also))
    check_options(parse(also, "--classification.focus=full"))


def test_flags_win_over_a_preset_whatever_the_order() -> None:
    before = parse("--segmentation.epochs=7", "--preset=cpu")
    after = parse("--preset=cpu", "--segmentation.epochs=7")
    assert before == after
    assert before.segmentation.epochs == 7
    assert before.segmentation.size == 160


@pytest.mark.parametrize("name", ["cpu", "demo", "gpu"])
def test_a_preset_is_sound(name: str) -> None:
    config = parse(f"--preset={name}")
    check_options(config)
    assert config.segmentation.folds >= 2


def test_the_presets_are_as_the_issue_says() -> None:
    assert preset_names("pipelines.presets") == ["cpu", "demo", "gpu"]
    cpu = parse("--preset=cpu")
    assert (cpu.segmentation.folds, cpu.classification.folds) == (2, 1)
    assert cpu.segmentation.size == 160
    assert cpu.segmentation.encoder == "tu-tf_efficientnet_lite0"


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_a_preset_of_the_run_is_that_of_both_stages(name: str) -> None:
    config = parse(f"--preset={name}")
    made = stage_configs(config, RunPaths(config.out))
    sections = (config.segmentation, config.classification)
    for ours, section, program in zip(made, sections, (SEGSTAGE, CLSSTAGE), strict=True):
        theirs = parse_config("train", program["train"], [f"--preset={name}", *GIVEN])
        for item in dataclasses.fields(section):
            assert getattr(ours, item.name) == getattr(theirs, item.name), item.name


def test_the_demo_is_a_run_of_phantoms_in_its_own_folder() -> None:
    demo = COMMANDS["demo"].config
    config = demo_run(demo(out=Path("runs/d"), n=50, seed=3, force=["report"], dry_run=True))
    assert (config.dataset, config.root, config.n) == ("phantom", Path("runs/d/phantoms"), 50)
    assert (config.seed, config.force, config.dry_run) == (3, ["report"], True)
    assert config.segmentation == parse("--preset=demo").segmentation
