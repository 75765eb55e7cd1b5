"""`clsstage evaluate`: scores of a classifier on an archive, with bootstrap intervals."""

from __future__ import annotations

import json
from dataclasses import asdict

from clsstage.config import EvaluateConfig
from clsstage.examples import with_labels
from clsstage.prediction import (
    load_classifier,
    predict_manifest,
    report_failures,
    subset_of,
)
from clsstage.sampling import check_two_classes
from clsstage.shortcuts import with_shortcuts
from lesioncore.files import write_json, write_table
from lesioncore.metrics import score_lines, score_malignancy
from lesioncore.progress import log
from lesioncore.readers import load_manifest
from lesioncore.splits import assign_groups


def evaluate(config: EvaluateConfig) -> int:
    """Print the scores as JSON to stdout (and write them to `out`); return 1 past `max_failed`.

    Raises
    ------
    LesionError
        No classifier, no labelled images in that subset, or labels of one class only.
    """
    classifier = load_classifier(config, config.calibration)
    manifest = with_shortcuts(load_manifest(config), classifier.metadata_columns)
    manifest = subset_of(manifest, config)
    policy = classifier.policy if config.policy == "auto" else config.policy
    examples = with_labels(manifest, policy)
    check_two_classes(examples.labels, f"{config.subset} images", policy)
    table = predict_manifest(config, classifier, examples.manifest)
    table.insert(1, "target", examples.labels)
    groups = assign_groups(examples.manifest).to_numpy()
    read = table["malignant"].notna().to_numpy()
    labels = examples.labels[read]
    scores = {
        "n": len(labels),
        "positives": int((labels == 1).sum()),
        "policy": policy,
        "dataset": config.dataset,
        "subset": config.subset,
        "members": config.members,
        "model": classifier.name,
        "failed": int((~read).sum()),
        "masks": table["mask_status"].value_counts().to_dict(),
        **score_malignancy(
            labels,
            table["malignant"].to_numpy()[read],
            groups[read],
            resamples=config.resamples,
            seed=config.seed,
        ),
    }
    if classifier.calibration is not None and config.members == "all":
        scores["calibration"] = asdict(classifier.calibration.fitted_on)
    if config.out is not None:
        write_table(config.out / "predictions.csv", table)
        write_json(config.out / "scores.json", scores)
    print(json.dumps(scores, indent=2))
    for line in score_lines(scores):
        log.info("%s", line)
    return report_failures(table, config.max_failed)
