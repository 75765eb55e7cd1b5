"""`clsstage predict`: a table of probabilities, or a Kaggle submission."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clsstage.calibrated import warn_of_drift
from clsstage.calibration import log_statement
from clsstage.config import EvaluateConfig, PredictConfig
from clsstage.masks import open_masks
from clsstage.members import KIND
from clsstage.predictor import LesionClassifier
from clsstage.shortcuts import with_shortcuts
from clsstage.submission import read_sample, submission
from lesioncore.errors import UsageError
from lesioncore.files import write_table
from lesioncore.progress import log
from lesioncore.readers import has_own_parts, load_manifest
from lesioncore.splits import member_count
from lesioncore.subsets import choose_subset, run_split, split_ids, validated_ids
from weights.provenance import read_provenance, seen_before
from weights.resolve import resolve

if TYPE_CHECKING:
    import pandas as pd

    from lesioncore.cache import MaskCache


def predict(config: PredictConfig) -> int:
    """Write the predictions of an archive; return 1 past `max_failed`.

    Raises
    ------
    LesionError
        No classifier, no images, or ids to submit that cannot be had.
    """
    kaggle = config.format == "kaggle"
    # Before the hours that the predictions may take.
    sample = read_sample(config) if kaggle else None
    split = "test" if kaggle and has_own_parts(config.dataset) else None
    # A competition scores ranks alone, which a map that ties scores would lose.
    plain = kaggle and config.calibration == "auto"
    classifier = load_classifier(config, "none" if plain else config.calibration)
    manifest = load_manifest(config, split=split)
    manifest = subset_of(with_shortcuts(manifest, classifier.metadata_columns), config)
    table = predict_manifest(config, classifier, manifest)
    out = config.out or Path("submission.csv" if kaggle else "predictions.csv")
    written = table if sample is None else submission(table, sample, classifier)
    write_table(out, written)
    log.info("wrote %d rows to %s", len(written), out)
    return report_failures(table, config.max_failed)


def load_classifier(config: PredictConfig | EvaluateConfig, calibration: str) -> LesionClassifier:
    """Return the classifier that a config names."""
    return LesionClassifier.load(
        config.weights,
        config.device,
        config.precision,
        calibration=calibration,
        prevalence=config.prevalence,
    )


def predict_manifest(
    config: PredictConfig | EvaluateConfig, classifier: LesionClassifier, manifest: pd.DataFrame
) -> pd.DataFrame:
    """Return the predictions of a manifest with the masks and members that a config names."""
    cache = masks_for(classifier, config.masks)
    member_of = None
    if config.members == "out-of-fold":
        member_of = out_of_fold_members(manifest, config.weights)
        if classifier.calibration is not None:
            log.info("out-of-fold scores stay as they are: the calibration was fitted on them")
    else:
        warn_in_sample(manifest, config.weights)
        log_calibration(classifier, manifest, config)
    table = classifier.predict_table(
        manifest,
        cache,
        member_of=member_of,
        views=config.tta,
        batch_size=config.batch_size,
        workers=config.workers,
    )
    counts = Counter(table["mask_status"])
    log.info("masks: %s", ", ".join(f"{n} {status}" for status, n in counts.most_common()))
    if classifier.calibration is not None and member_of is None:
        warn_of_drift(table["malignant"], classifier.calibration)
    return table


def masks_for(classifier: LesionClassifier, folder: Path | None) -> MaskCache | None:
    """Return the cache to use, with a warning where the classifier will miss its masks."""
    if not classifier.needs_mask:
        return None
    if folder is None:
        log.warning(
            "no --masks: every image is seen whole, though the classifier learned on %s; its "
            "probabilities will be worse (segstage cache makes masks)",
            classifier.members[0].view.focus,
        )
        return None
    cache = open_masks(folder)
    pinned = classifier.members[0].card.preprocessing.get("masks")
    if pinned:
        from lesioncore.cache import fingerprint_differences

        differing = fingerprint_differences(pinned["fingerprint"], cache.fingerprint)
        if differing:
            log.warning(
                "these masks are made in another way than those of the training: %s",
                "; ".join(differing),
            )
    return cache


def subset_of(manifest: pd.DataFrame, config: PredictConfig | EvaluateConfig) -> pd.DataFrame:
    """Return the rows that `subset` names."""
    return choose_subset(
        manifest,
        config.subset,
        dataset=config.dataset,
        test_list=config.test_list,
        weights=config.weights,
    )


def out_of_fold_members(manifest: pd.DataFrame, weights: Path | None) -> NDArray[np.int64]:
    """Return the member that did not train on each row; -1 (all) for rows no member knows.

    Raises
    ------
    UsageError
        The weights are no run folder, or a row was trained on by every member.
    """
    split = run_split(weights)
    if split is None:
        raise UsageError(
            f"{weights or 'the shipped classifier'} is no run folder: it has no folds",
            mend="--members all",
        )
    training = split[split["role"] == "train"].set_index("image_id")
    fold = training["fold"].reindex(manifest["image_id"])
    members = member_count(split)
    seen = int((fold >= members).sum())
    if seen:
        raise UsageError(
            f"{seen} of the {len(manifest)} images were trained on by the only member",
            wanted="images that some member did not train on",
            mend="--subset validation, or train with --folds 2 or more",
        )
    before = int(manifest["image_id"].isin(_known_to_the_start(weights)).sum())
    if before:
        raise UsageError(
            f"{before} of the {len(manifest)} images are known to the weights that {weights} "
            "started from",
            wanted="images that some member has not met",
            mend="--subset validation, which leaves them out",
        )
    return fold.fillna(-1).to_numpy().astype(np.int64)


def warn_in_sample(manifest: pd.DataFrame, weights: Path | None) -> None:
    """Say so when predictions are of images that the classifier was trained on."""
    split = run_split(weights)
    if split is None:
        learned = _shipped_learned(manifest, weights)
    else:
        learned = split_ids(split, "train") | _known_to_the_start(weights)
    known = int(manifest["image_id"].isin(learned).sum())
    if known:
        log.warning(
            "%d of %d images were trained on by this classifier: their probabilities are too "
            "good to judge it by (--subset test, or --members out-of-fold)",
            known,
            len(manifest),
        )


def log_calibration(
    classifier: LesionClassifier,
    manifest: pd.DataFrame,
    config: PredictConfig | EvaluateConfig,
) -> None:
    """Log what stands behind the probabilities, and which images the calibration has seen."""
    if classifier.calibration is None:
        return
    log_statement(classifier.calibration)
    split = run_split(config.weights)
    if split is None or config.weights is None or config.calibration != "auto":
        return
    known = int(manifest["image_id"].isin(validated_ids(config.weights, split)).sum())
    if known:
        log.warning(
            "%d of %d images are those that the calibration was fitted on: judge it on others",
            known,
            len(manifest),
        )


def _shipped_learned(manifest: pd.DataFrame, weights: Path | None) -> set[str]:
    """Return the ids that weights outside of a run know, themselves or their lesions."""
    record = read_provenance(resolve(weights, kind=KIND))
    if record is None:
        return set()
    table = manifest.reindex(columns=["image_id", "patient_id", "lesion_id"])
    # Bytes are not read for a warning; each image is a group of its own.
    table = table.assign(image_sha256="", group=table["image_id"])
    return seen_before(table, record)


def _known_to_the_start(weights: Path | None) -> set[str]:
    """Return the ids of a run's images that the weights it started from had learned from."""
    record = None if weights is None else read_provenance(weights)
    if record is None:
        return set()
    earlier = (record["role"] == "train") & (record["fold"].astype(int) < 0)
    return seen_before(record[~earlier], record[earlier]) | set(record.loc[earlier, "image_id"])


def report_failures(table: pd.DataFrame, max_failed: int) -> int:
    """Log the images without a probability; return 1 when there are more than `max_failed`."""
    failed = table[table["malignant"].isna()]
    for image_id, reason in zip(failed["image_id"][:5], failed["reason"][:5], strict=True):
        log.warning("%s: %s", image_id, reason)
    if len(failed):
        log.warning("%d of %d images could not be read", len(failed), len(table))
    return int(len(failed) > max_failed)
