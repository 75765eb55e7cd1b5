"""The steps of `lesion run`: what goes into each and what it leaves behind."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesioncore.calibration import CALIBRATION_FILE
from lesioncore.config import ComputeOptions, DataOptions, Subset
from lesioncore.errors import LesionError, UsageError
from lesioncore.files import sha256_json
from lesioncore.runs import FREE_FIELDS
from pipelines.datasets import RunData
from pipelines.results import (
    cache_is_complete,
    digest_of,
    discard_masks,
    made_the_masks,
    masks_of,
    members_of,
    run_is_complete,
)
from pipelines.steps import Step

if TYPE_CHECKING:
    from clsstage.config import TrainConfig as ClassifierTraining
    from pipelines.config import RunConfig
    from segstage.config import TrainConfig as SegmenterTraining

# Options that came with a later version, which change nothing of what was trained before.
_LATER = {"calibration": "auto", "sensitivity": 0.9}


@dataclass(frozen=True)
class RunPaths:
    """Where everything of a run lies."""

    folder: Path

    @property
    def config(self) -> Path:
        """The resolved config, usable with `lesion run --config`."""
        return self.folder / "run.yaml"

    @property
    def segmentation(self) -> Path:
        """Run folder of stage 1."""
        return self.folder / "segmentation"

    @property
    def cache(self) -> Path:
        """The mask cache."""
        return self.folder / "cache"

    @property
    def classification(self) -> Path:
        """Run folder of stage 2."""
        return self.folder / "classification"

    @property
    def predictions(self) -> Path:
        """Probabilities of the scored subset."""
        return self.folder / "predictions.csv"

    @property
    def evaluation(self) -> Path:
        """Scores, and a table of all images."""
        return self.folder / "evaluation"

    @property
    def overlays(self) -> Path:
        """Contact sheets."""
        return self.folder / "overlays"

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / "report.html"


def shared_options(config: RunConfig) -> dict[str, Any]:
    """Return what every step is told of the data and the machine."""
    names = [item.name for kind in (DataOptions, ComputeOptions) for item in fields(kind)]
    return {name: getattr(config, name) for name in names}


def stage_configs(
    config: RunConfig, paths: RunPaths
) -> tuple[SegmenterTraining, ClassifierTraining]:
    """Return the configs of `segstage train` and `clsstage train` of this run."""
    from clsstage.config import TrainConfig as ClassifierTraining
    from segstage.config import TrainConfig as SegmenterTraining

    shared = shared_options(config) | {
        "seed": config.seed,
        "test_list": config.test_list,
        "max_failed": config.max_failed,
    }
    stage1 = dataclasses.asdict(config.segmentation)
    stage2 = dataclasses.asdict(config.classification)
    classifier = ClassifierTraining(**shared, **stage2, out=paths.classification, masks=paths.cache)
    if classifier.also and classifier.needs_masks:
        raise UsageError(
            f"--classification.also {', '.join(classifier.also)} needs masks, and lesion run makes "
            f"those of {config.dataset} alone",
            wanted="one archive, or a classifier that looks at no masks",
            mend="segstage cache each archive, lesion cache merge, clsstage train --also; or "
            "--classification.focus full",
        )
    return SegmenterTraining(**shared, **stage1, out=paths.segmentation), classifier


def scored_subset(data: RunData) -> Subset:
    """Return the subset of the archive that is scored: "test", else "validation"."""
    return "test" if data.test else "validation"


def make_steps(config: RunConfig, paths: RunPaths, data: RunData) -> list[Step]:
    """Return the steps of the run in order."""
    segmenter, classifier = stage_configs(config, paths)
    learnt = {
        "data": data.fingerprint,
        "seed": config.seed,
        "test_ids_sha256": sha256_json(sorted(data.test)),
    }
    subset = scored_subset(data)
    return [
        Step(
            "segment", "train the segmenter", paths.segmentation,
            inputs=lambda: learnt | {"segmentation": _options(config.segmentation)},
            run=lambda: _train_segmenter(segmenter),
            done=lambda: run_is_complete(paths.segmentation),
            keep_old=True,
        ),
        Step(
            "cache", "segment every image, out-of-fold", paths.cache,
            inputs=lambda: {"data": data.fingerprint, "segmenter": members_of(paths.segmentation)},
            run=lambda: _fill_cache(config, paths),
            done=lambda: cache_is_complete(paths.cache),
            after=("segment",),
            clear=lambda forced: _clear_cache(paths, forced),
        ),
        Step(
            "classify", "train the classifier", paths.classification,
            inputs=lambda: learnt | {
                "masks": masks_of(paths.cache),
                "classification": _options(config.classification),
            },
            run=lambda: _train_classifier(classifier),
            done=lambda: run_is_complete(paths.classification),
            after=("cache",),
            keep_old=True,
            # A classifier of an older version stays, without a calibration.
            defaults={"classification": _LATER},
        ),
        Step(
            "predict", f"give the {subset} images a probability", paths.predictions,
            inputs=lambda: {
                "data": data.fingerprint, "subset": subset, "masks": masks_of(paths.cache),
                "classifier": members_of(paths.classification),
                "calibration": digest_of(paths.classification / CALIBRATION_FILE),
            },
            run=lambda: _predict(config, paths, subset),
            after=("cache", "classify"),
        ),
        Step(
            "evaluate", "score masks and probabilities", paths.evaluation,
            inputs=lambda: {
                "data": data.fingerprint, "policy": data.policy, "subset": subset,
                "masks": masks_of(paths.cache), "predictions_sha256": digest_of(paths.predictions),
                "resamples": config.resamples, "seed": config.seed,
            },
            run=lambda: _evaluate(config, paths, data, subset),
            done=lambda: (paths.evaluation / "scores.json").is_file(),
            after=("cache", "predict"),
        ),
        Step(
            "overlay", "draw contact sheets", paths.overlays,
            inputs=lambda: {
                "images_sha256": digest_of(paths.evaluation / "images.parquet"),
                "masks": masks_of(paths.cache), "tiles": config.tiles, "seed": config.seed,
            },
            run=lambda: _overlay(config, paths, subset),
            after=("evaluate",),
        ),
        Step(
            "report", "write the report", paths.report,
            inputs=lambda: _report_inputs(config, paths),
            run=lambda: _report(paths),
            after=("evaluate", "overlay"),
            defaults={"settings": {"classification": _LATER}},
        ),
    ]  # fmt: skip


def _clear_cache(paths: RunPaths, forced: bool) -> None:
    """Discard the masks of another segmenter; those of this one are gone on with."""
    if not (paths.cache / "index.json").is_file():
        return
    if forced or not made_the_masks(paths.segmentation, paths.cache):
        discard_masks(paths.cache)


def _train_segmenter(config: SegmenterTraining) -> None:
    from segstage.train import train

    train(config)


def _fill_cache(config: RunConfig, paths: RunPaths) -> None:
    from segstage.caching import cache
    from segstage.config import CacheConfig

    code = cache(
        CacheConfig(
            **shared_options(config),
            weights=paths.segmentation,
            out=paths.cache,
            max_failed=config.max_failed,
        )
    )
    _check(code, "some images could not be segmented", config)


def _train_classifier(config: ClassifierTraining) -> None:
    from clsstage.train import train

    train(config)


def _predict(config: RunConfig, paths: RunPaths, subset: Subset) -> None:
    from clsstage.config import PredictConfig
    from clsstage.prediction import predict

    code = predict(
        PredictConfig(
            **shared_options(config),
            weights=paths.classification,
            masks=paths.cache,
            out=paths.predictions,
            test_list=config.test_list,
            subset=subset,
            members="all" if subset == "test" else "out-of-fold",
            max_failed=config.max_failed,
        )
    )
    _check(code, "some images could not be read", config)


def _evaluate(config: RunConfig, paths: RunPaths, data: RunData, subset: Subset) -> None:
    from pipelines.evaluation import evaluate_run

    evaluate_run(paths, data, subset=subset, resamples=config.resamples, seed=config.seed)


def _overlay(config: RunConfig, paths: RunPaths, subset: Subset) -> None:
    from pipelines.overlay import run_sheets

    run_sheets(paths, subset=subset, tiles=config.tiles, seed=config.seed)


def _report(paths: RunPaths) -> None:
    from pipelines.report import write_report

    write_report(paths.folder, paths.report)


def _check(code: int | None, what: str, config: RunConfig) -> None:
    if code:
        raise LesionError(
            f"{what} (the lines above name them)",
            wanted=f"at most {config.max_failed} failures",
            mend="repair or remove them, or give --max-failed N",
        )


def _report_inputs(config: RunConfig, paths: RunPaths) -> dict[str, Any]:
    from pipelines.report import REPORT_VERSION

    scores = paths.evaluation / "scores.json"
    return {
        "scores_sha256": digest_of(scores),
        "images_sha256": digest_of(paths.evaluation / "images.parquet"),
        "masks": masks_of(paths.cache),
        "settings": _options(config),
        "algorithm_version": REPORT_VERSION,
    }


def _options(config: Any) -> dict[str, Any]:
    """Return the options that decide what comes out, as plain values."""
    from lesioncore.runs import plain_config

    drop = FREE_FIELDS | {"force", "dry_run"}
    return {name: value for name, value in plain_config(config).items() if name not in drop}
