"""`lesion run`: segment, cache, classify, predict, evaluate, overlay and report, once each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lesioncore.cache.lock import FolderLock
from lesioncore.errors import LesionError, UsageError
from lesioncore.files import write_text, writing_to
from lesioncore.progress import log
from lesioncore.runs import plain_config
from pipelines.datasets import RunData, load_run_data
from pipelines.run_steps import RunPaths, make_steps, stage_configs
from pipelines.steps import Ledger, check_force, plan, run_steps

if TYPE_CHECKING:
    from pipelines.config import RunConfig

# What says how a run is carried out, not what comes of it.
_MANNERS = ("force", "dry_run")


def run(config: RunConfig) -> None:
    """Do every step of a run whose result is missing or stems from other inputs.

    Raises
    ------
    LesionError
        A step failed; what was finished is kept and the same command goes on from there.
    UsageError
        Options that cannot work together, found before any work.
    """
    paths = RunPaths(config.out)
    check_options(config)
    check_out(config.out)
    data = load_run_data(
        config,
        seed=config.seed,
        policy=config.classification.policy,
        test_list=config.test_list,
    )
    log.info("%s: %s", config.dataset, describe(data))
    check_data(config, data)
    steps = make_steps(config, paths, data)
    check_force(steps, config.force)
    ledger = Ledger(config.out)
    if config.dry_run:
        print("\n".join(plan(steps, ledger, config.force)))
        return
    with writing_to(config.out):
        config.out.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(config.out / "run.lock")
    try:
        write_text(paths.config, _yaml(config))
        run_steps(steps, ledger, config.force)
    finally:
        lock.release()
    print(paths.report)


def check_options(config: RunConfig) -> None:
    """Refuse options that would fail hours later.

    Raises
    ------
    UsageError
        A wrong value, or masks that stage 2 would refuse.
    """
    try:
        _, classifier = stage_configs(config, RunPaths(config.out))
    except ValueError as error:
        raise UsageError(str(error), mend="see `lesion run --help`") from None
    in_sample = config.segmentation.folds == 1 and not classifier.allow_in_sample_masks
    if in_sample and classifier.needs_masks:
        raise UsageError(
            "with --segmentation.folds 1 every training image's mask comes from a segmenter that "
            "learnt it, and stage 2 would learn on better masks than it will ever meet",
            wanted="two folds or more, so that each mask is out-of-fold",
            mend="--segmentation.folds 2 (or --classification.allow-in-sample-masks)",
        )


def check_out(folder: Path) -> None:
    """Refuse a folder that one stage or a mask cache fills: its files would mix with a run's.

    Raises
    ------
    LesionError
        Naming what lies there.
    """
    for name, what in (("run.json", "the run of one stage"), ("index.json", "a mask cache")):
        if (folder / name).is_file():
            raise LesionError(
                f"{folder} holds {what} ({name})",
                wanted="a folder of `lesion run`, or a new one",
                mend="choose another --out",
            )


def check_data(config: RunConfig, data: RunData) -> None:
    """Refuse data that stage 1 cannot learn from.

    Raises
    ------
    LesionError
        There are no true masks.
    """
    masks = int(data.manifest["mask"].notna().sum())
    if masks == 0:
        raise LesionError(
            f"{config.dataset} in {config.root} has no true masks, and stage 1 learns from them",
            wanted="images with masks",
            mend="train stage 1 elsewhere (segstage train), then segstage cache and clsstage "
            "train on this archive: docs/how-to/run-on-your-archive.md",
        )


def describe(data: RunData) -> str:
    """Return a line of counts for the log."""
    malignant = int((data.labels == 1).sum())
    benign = int((data.labels == 0).sum())
    masks = int(data.manifest["mask"].notna().sum())
    return (
        f"{len(data.manifest):,} images, {masks:,} true masks, {malignant:,} malignant and "
        f"{benign:,} benign ({data.policy}), {len(data.test):,} on the test list"
    )


def _yaml(config: RunConfig) -> str:
    import yaml

    plain = {k: v for k, v in plain_config(config).items() if k not in _MANNERS}
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))
