"""`clsstage train`: members on a grouped split, each resumable, scored on what it did not see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from clsstage.calibration import calibrate_run, log_statement
from clsstage.config import TrainConfig
from clsstage.crops.training import training_crops
from clsstage.examples import Examples, load_examples
from clsstage.focus_names import parse_focus
from clsstage.mask_decoder import mask_levels
from clsstage.masks import check_snapshot, check_training_masks, open_masks, snapshot
from clsstage.member_training import MemberTraining
from clsstage.plan import metadata_names, new_classifier
from clsstage.sampling import check_two_classes
from clsstage.start import learned_before
from clsstage.summary import summary
from clsstage.synthetic_rows import check_digests, synthetic_digests
from clsstage.targets import create_target
from lesioncore.archives import archive_names
from lesioncore.calibration import CALIBRATION_FILE, write_calibration
from lesioncore.devices import choose_device
from lesioncore.errors import LesionError
from lesioncore.files import read_json, write_json, write_table, write_text
from lesioncore.inspection import inspect_images
from lesioncore.metrics import score_malignancy, score_text
from lesioncore.progress import log
from lesioncore.runs import OUT_OF_FOLD, Run
from lesioncore.splits import (
    check_split,
    member_count,
    member_ids,
    read_split,
    write_split,
)
from lesioncore.training_split import training_split
from weights.provenance import provenance_table, read_provenance, write_provenance

if TYPE_CHECKING:
    from lesioncore.cache import MaskCache


def train(config: TrainConfig) -> None:
    """Train the members of a run; a killed or repeated call goes on where it stopped.

    Raises
    ------
    LesionError
        Labels of one class, a mask cache that is missing, incomplete, in-sample or changed, a
        run folder of another config, and whatever the reader finds wrong.
    """
    if config.needs_masks and config.masks is None:
        what, without = "--mask-pool", "--mask-pool false"
        if config.aux_mask:
            what, without = "--aux-mask", "--aux-mask 0"
        if parse_focus(config.focus).needs_mask:
            what, without = f"the focus {config.focus!r}", "--focus full"
        raise LesionError(
            f"{what} needs masks and none were given",
            wanted="a mask cache of these images",
            mend=f"segstage cache ... --out cache/ and then --masks cache/, or {without}",
        )
    choose_device(config.device)
    # A run that is there is checked first; a new one is made only once all else is right, so that
    # a mended command does not meet the folder of the refused one.
    run = _open(config) if (config.out / "run.json").is_file() else None
    if run is not None and run.complete:
        log.info("%s is complete: nothing to do (see %s)", config.out, run.path("summary.md"))
        return
    examples = load_examples(
        config, config.policy, seed=config.seed, metadata=metadata_names(config)
    )
    if run is None:
        network, _ = new_classifier(config, 1, create_target(config.target, examples.policy))
        if config.aux_mask:
            shape = network.architecture
            mask_levels(network.encoder, shape["image_size"], shape["in_channels"])
    check_two_classes(examples.labels, "labelled images", examples.policy)
    split, examples, record = _split(config, examples)
    seen: set[str] = set()
    if config.start is not None:
        seen, record = learned_before(record, config.start)
    used = split.loc[split["role"] == "train", "image_id"].tolist()
    cache, pinned = _masks(config, used)
    crops = training_crops(config, examples.take(used).manifest, cache)
    if run is None:
        digests = synthetic_digests(config.synthetic)
        run = _open(config)
        run.update(synthetic=digests)
    check_digests(run.record.get("synthetic", []), config.synthetic)
    write_split(run.path("split.csv"), split)
    write_provenance(run.folder, record)
    if pinned is not None:
        write_json(run.path("masks.json"), pinned)
    members = member_count(split)
    parts = []
    for number in range(members):
        train_ids, val_ids = member_ids(split, number)
        known = seen.intersection(val_ids)
        if known:
            log.info("%d images that %s learned from validate nothing", len(known), config.start)
            val_ids = [name for name in val_ids if name not in known]
            if not val_ids:
                raise LesionError(
                    f"{config.start} has learned from all images that member-{number} could be "
                    "validated on",
                    wanted="some images that it has not seen, or their lesions",
                    mend="another --split-seed, a larger --val-fraction, or another --start",
                )
        log.info(
            "member-%d of %d: %d images to learn from, %d to validate on",
            number,
            members,
            len(train_ids),
            len(val_ids),
        )
        job = MemberTraining(config, run.member(number), number, cache, pinned, crops)
        parts.append(job.run(examples.take(train_ids), examples.take(val_ids)))
    _finish(run, config, split, pd.concat(parts, ignore_index=True), examples.policy, pinned)


def _finish(
    run: Run,
    config: TrainConfig,
    split: pd.DataFrame,
    held_out: pd.DataFrame,
    policy: str,
    pinned: dict[str, Any] | None,
) -> None:
    """Write the held-out predictions, their scores and the summary; mark the run complete."""
    members = member_count(split)
    write_table(run.path(OUT_OF_FOLD), held_out)
    groups = split.set_index("image_id")["group"].reindex(held_out["image_id"]).to_numpy()
    labels = held_out["target"].to_numpy()
    scores: dict[str, Any] = {
        "n": len(held_out),
        "positives": int((labels == 1).sum()),
        "policy": policy,
        "subset": "validation",
        **score_malignancy(labels, held_out["malignant"].to_numpy(), groups, seed=config.seed),
    }
    write_json(run.path("metrics.json"), scores)
    calibration = calibrate_run(run, config.calibration, sensitivity=config.sensitivity)
    write_calibration(run.path(CALIBRATION_FILE), calibration)
    page = summary(config, run.folder, split, held_out, scores, pinned, calibration)
    write_text(run.path("summary.md"), page)
    run.finish(members=members)
    log.info("validation AUC %s (%d images)", score_text(scores["auc"]), len(held_out))
    log_statement(calibration)


def _open(config: TrainConfig) -> Run:
    return Run.open(config.out, "clsstage", config)


def _split(config: TrainConfig, examples: Examples) -> tuple[pd.DataFrame, Examples, pd.DataFrame]:
    """Return the run's split, the examples in it, and the record of what each image is known by.

    They are those on disk, or new ones.
    """
    path = config.out / "split.csv"
    record = read_provenance(config.out) if path.is_file() else None
    if record is not None:
        split = read_split(path)
        # Images that could not be read are not in the split.
        examples = examples.where(examples.manifest["image_id"].isin(split["image_id"]).to_numpy())
        check_split(split, examples.manifest)
        return split, examples, record
    seen = inspect_images(
        examples.manifest,
        near=config.near_duplicates,
        workers=config.workers,
        max_failed=config.max_failed,
    )
    examples = examples.where(seen.kept)
    split = training_split(
        seen, archive_names(config), config, examples.labels, seed=config.split_seed
    )
    return split, examples, provenance_table(split, seen.manifest, seen.digests)


def _masks(
    config: TrainConfig, image_ids: list[str]
) -> tuple[MaskCache | None, dict[str, Any] | None]:
    """Return the checked cache and its snapshot, the same that the run pinned when it began."""
    if config.masks is None or not config.needs_masks:
        return None, None
    cache = open_masks(config.masks)
    check_training_masks(
        cache, image_ids, config.masks, allow_in_sample=config.allow_in_sample_masks
    )
    now = snapshot(cache, image_ids, config.masks)
    path = config.out / "masks.json"
    if path.is_file():
        check_snapshot(read_json(path), now)
    return cache, now
