"""`segstage train`: a run folder with one segmenter, or with one for each fold."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Dataset

from lesioncore.archives import archive_names, load_archives
from lesioncore.devices import choose_device, choose_workers
from lesioncore.errors import LesionError
from lesioncore.files import read_table, write_json, write_table, write_text
from lesioncore.inspection import Inspected, inspect_images
from lesioncore.loading import EpochSampler, make_loader
from lesioncore.metrics import MASK_METRICS, score_masks, score_text
from lesioncore.progress import log
from lesioncore.runs import OUT_OF_FOLD, VALIDATION, Run
from lesioncore.splits import check_split, member_ids, read_split, write_split
from lesioncore.training import fit, forget_checkpoints
from lesioncore.training_split import training_split
from lesioncore.transforms import segmentation_train, stretch_only
from segstage.config import TrainConfig
from segstage.dataset import SegmentationDataset, with_masks
from segstage.embeddings import EmbeddingStore, embedded
from segstage.ensemble import load_run
from segstage.losses import create_loss
from segstage.models._registry import Segmenter, create_segmenter, segmenter_class
from segstage.postprocess import PostProcessing
from segstage.predictor import KIND, LesionSegmenter
from segstage.quality_fit import quality_of_run
from segstage.scoring import score_images
from segstage.summary import summary, title
from segstage.task import MONITOR, SegmentationTask
from segstage.teacher import Teacher
from weights.card import WeightCard
from weights.provenance import FILE as PROVENANCE
from weights.provenance import (
    member_of,
    provenance_table,
    read_provenance,
    with_earlier,
    write_provenance,
)
from weights.resolve import resolve
from weights.store import CARD, read_card, rewrite_card, save_weights

if TYPE_CHECKING:
    import pandas as pd

_EMBEDDINGS = "embeddings"


def train(config: TrainConfig) -> int:
    """Train every member of the run that is not trained yet; return 0.

    Parameters
    ----------
    config : TrainConfig
        The same config on the same `out` goes on with a run that was killed.

    Raises
    ------
    LesionError
        Images without masks, unreadable or of another size than their mask; a split that leaks;
        another run in `out`.
    """
    home = Path(config.out)
    if not (home / "run.json").is_file():
        # Before a folder is made: a mistake should not leave a run that has to be removed.
        choose_device(config.device)
        create_loss(config.loss)
        started(new_segmenter(config), config.start)
        seen = _inspected(load_archives(config, seed=config.seed), config)
        split = training_split(seen, archive_names(config), config)
        run = Run.open(home, "segstage", config)
        _keep_split(run, split, seen)
        manifest = seen.manifest
    else:
        run = Run.open(home, "segstage", config)
        if run.complete:
            log.info("nothing to do: %s is complete", run.folder)
            return 0
        manifest = load_archives(config, seed=config.seed)
        if not _has_split(run):
            seen = _inspected(manifest, config)
            _keep_split(run, training_split(seen, archive_names(config), config), seen)
        manifest, split = _take_up(run, manifest)
    for number in range(config.folds):
        if (run.folder / f"member-{number}" / VALIDATION).is_file():
            log.info("member-%d is finished", number)
            continue
        _train_member(run, number, manifest, split, config)
    shutil.rmtree(run.path(_EMBEDDINGS), ignore_errors=True)
    _finish(run, split, config)
    return 0


def _inspected(manifest: pd.DataFrame, config: TrainConfig) -> Inspected:
    return inspect_images(
        with_masks(manifest, config.max_failed, _teacher(config)),
        masks=True,
        near=config.near_duplicates,
        workers=config.workers,
        max_failed=config.max_failed,
    )


def _has_split(run: Run) -> bool:
    # Written in this order, so the second means both.
    return run.path("split.csv").is_file() and run.path(PROVENANCE).is_file()


def _take_up(run: Run, manifest: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of the manifest that the run's split holds, and the split, checked."""
    split = read_split(run.path("split.csv"))
    ids = manifest["image_id"].astype(str)
    manifest = manifest[ids.isin(set(split["image_id"]))].reset_index(drop=True)
    check_split(split, manifest)
    return manifest, split


def _keep_split(run: Run, split: pd.DataFrame, seen: Inspected) -> None:
    write_split(run.path("split.csv"), split)
    table = provenance_table(split, seen.manifest, seen.digests)
    start = run.record["config"].get("start")
    if start is not None:
        home, member = member_of(resolve(start, kind=KIND))
        table = with_earlier(table, read_provenance(home), member)
    write_provenance(run.folder, table)


def _train_member(
    run: Run, number: int, manifest: pd.DataFrame, split: pd.DataFrame, config: TrainConfig
) -> None:
    folder = run.member(number)
    train_ids, val_ids = member_ids(split, number)
    rows = manifest.set_index(manifest["image_id"].astype(str))
    log.info(
        "member-%d of %d: %d images to learn from, %d to validate on",
        number,
        config.folds,
        len(train_ids),
        len(val_ids),
    )
    if not (folder / CARD).is_file():
        torch.manual_seed(config.seed + number)
        segmenter = started(new_segmenter(config), config.start)
        _warn_of_seen(segmenter, val_ids)
        task = SegmentationTask(segmenter, config)
        if segmenter.trainable:
            store = _embeddings(run, segmenter, rows.loc[[*train_ids, *val_ids]], config)
            judged = with_masks(rows.loc[val_ids], len(val_ids) - 1)
            loaders = _loaders(rows.loc[train_ids], judged, config, number, store)
            fit(task, *loaders, folder=folder, options=config, monitor=MONITOR, ema=config.ema)
        card = member_card(task.segmenter, config, number, len(train_ids))
        save_weights(folder, task.segmenter.state_dict(), card)
    member = LesionSegmenter.load(folder, config.device, config.precision)
    scores = score_images(
        member,
        with_masks(rows.loc[val_ids].reset_index(drop=True), len(val_ids) - 1),
        groups=split.set_index("image_id")["group"],
        workers=config.workers,
        description=f"scoring member {number}",
        traits=True,
    )
    scores["member"] = str(number)
    card = read_card(folder)
    found = {name: round(float(scores[name].mean()), 6) for name in MASK_METRICS}
    metrics = {"validation": {"n": int(scores["dice"].notna().sum()), **found}}
    rewrite_card(folder, dataclasses.replace(card, metrics=metrics))
    write_table(folder / VALIDATION, scores)
    forget_checkpoints(folder)


def new_segmenter(config: TrainConfig) -> Segmenter:
    """Return the untrained segmenter that a config describes."""
    options = dict(config.arch_options)
    if segmenter_class(config.arch).has_encoder:
        options = {"encoder": config.encoder, **options}
    return create_segmenter(config.arch, encoder_weights=config.encoder_weights, **options)


def started(segmenter: Segmenter, start: str | None) -> Segmenter:
    """Return the segmenter with the weights of a trained one of its architecture, to go on from.

    Raises
    ------
    LesionError
        No weights there, those of several members, or of another architecture.
    """
    if start is None:
        return segmenter
    first = load_run(start)
    if len(first.members) > 1:
        raise LesionError(
            f"{start} holds {len(first.members)} members", mend=f"--start {start}/member-0"
        )
    known, wanted = first.cards[0].architecture, segmenter.architecture
    if dict(known) != wanted:
        raise LesionError(f"{start} is a {known}", wanted=f"{wanted}, as the flags say")
    segmenter.load_state_dict(first.members[0].state_dict())
    source = f"{segmenter.origin['source']}, then {Path(start).name}"
    segmenter.origin = {**segmenter.origin, "source": source}
    home = resolve(start, kind=KIND)
    segmenter.built_on = home / "member-0" if (home / "run.json").is_file() else home
    return segmenter


def member_card(segmenter: Segmenter, config: TrainConfig, number: int, images: int) -> WeightCard:
    """Return the card of a trained member."""
    archives = " and ".join(archive_names(config))
    post = PostProcessing(
        threshold=config.threshold,
        largest_component=config.largest_component,
        fill_holes=config.fill_holes,
        min_area=config.min_area,
    )
    return WeightCard(
        name=f"{title(config)}, member {number} of {config.folds}",
        kind=KIND,
        architecture=segmenter.architecture,
        preprocessing={
            "size": config.size,
            "resize": "stretch; area down, linear up",
            **segmenter.normalisation,
            **({} if config.tta == "none" else {"tta": config.tta}),
        },
        postprocessing=post.to_dict(),
        training_data=f"{images} images of {archives}; the test list "
        f"({config.test_list}) was held back",
        first_weights=segmenter.origin,
        licence=f"that of {archives}",
        limits="Masks of single lesions on photographs like those it was trained on. A research "
        "tool, never a diagnosis.",
    )


def _warn_of_seen(segmenter: Segmenter, val_ids: Sequence[str]) -> None:
    """Warn where a part of the network learned from images that it is now validated on."""
    home = segmenter.built_on
    if home is None or not (home.parent / "split.csv").is_file():
        return
    split, number = read_split(home.parent / "split.csv"), home.name.removeprefix("member-")
    seen, _ = member_ids(split, int(number) if number.isdigit() else 0)
    shared = set(seen) & set(val_ids)
    if shared:
        log.warning(
            "%s learned from %d of the %d images to validate on: their scores and masks flatter",
            home,
            len(shared),
            len(val_ids),
        )


def _teacher(config: TrainConfig) -> Teacher | None:
    return None if config.teacher is None else Teacher(config.teacher, config.teacher_weight)


def _embeddings(
    run: Run, segmenter: Segmenter, rows: pd.DataFrame, config: TrainConfig
) -> EmbeddingStore | None:
    """Return the kept embeddings of some rows, made now where they are not there; None without."""
    wanted = config.embeddings
    if wanted == "off" or (wanted == "auto" and segmenter.embedding_key() is None):
        return None
    folder = run.path(_EMBEDDINGS) if wanted == "auto" else Path(wanted)
    table = read_provenance(run.folder)
    assert table is not None
    digests = dict(zip(table["image_id"], table["image_sha256"], strict=True))
    store = EmbeddingStore(folder, segmenter, config.size, digests)
    store.fill(
        segmenter, rows, device=config.device, precision=config.precision, workers=config.workers
    )
    if config.augment != "none":
        log.info("images are not augmented, their embeddings are kept (--embeddings off augments)")
    return store


def _loaders(
    train_rows: pd.DataFrame,
    val_rows: pd.DataFrame,
    config: TrainConfig,
    number: int,
    store: EmbeddingStore | None = None,
) -> tuple[Any, Any]:
    seed = config.seed + number
    workers = choose_workers(config.workers)
    teacher = _teacher(config)
    learn: Dataset[Any]
    check: Dataset[Any]
    if store is not None:
        learn, check = embedded(train_rows, store, teacher), embedded(val_rows, store)
    else:
        chain = segmentation_train(config.size, config.augment, seed=seed)
        learn = SegmentationDataset(train_rows, chain, teacher)
        check = SegmentationDataset(val_rows, stretch_only(config.size))
    batch = min(config.batch_size, len(learn))
    return (
        make_loader(
            learn,
            batch,
            sampler=EpochSampler.shuffled(len(learn), seed),
            workers=workers,
            # A last batch of one image would ruin the statistics of batch normalisation.
            drop_last=len(learn) > batch,
        ),
        make_loader(check, max(batch, 32), workers=workers),
    )


def _finish(run: Run, split: pd.DataFrame, config: TrainConfig) -> None:
    """Join the members' scores, write metrics.json and summary.md, mark the run complete."""
    import pandas as pd

    parts = [
        read_table(run.member(number) / VALIDATION, dtype={"image_id": str, "group": str})
        for number in range(config.folds)
    ]
    scores = pd.concat(parts, ignore_index=True)
    write_table(run.path(OUT_OF_FOLD), scores)
    good = scores[scores["dice"].notna()]
    if good.empty:
        raise LesionError("no validation image could be scored", wanted="at least one")
    cards = [read_card(run.member(number)) for number in range(config.folds)]
    record: dict[str, Any] = {
        "n": len(good),
        "subset": "validation",
        **score_masks(good, good["group"], seed=config.seed),
        "quality": quality_of_run(run.folder, good),
    }
    write_json(run.path("metrics.json"), record)
    write_text(run.path("summary.md"), summary(run.folder, config, split, record, cards))
    log.info("validation Jaccard %s (%d images)", score_text(record["jaccard"]), len(good))
    run.finish(members=config.folds)
