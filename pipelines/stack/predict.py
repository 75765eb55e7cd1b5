"""`lesion stack predict`: probabilities of new lesions by all members of a stack."""

from __future__ import annotations

import numpy as np

from lesioncore.devices import choose_workers
from lesioncore.errors import UsageError
from lesioncore.files import write_table
from lesioncore.progress import log
from lesioncore.runs import Run
from lesioncore.splits import read_split
from lesioncore.subsets import choose_subset, split_ids
from pipelines.stack.rows import StackRows, load_rows
from pipelines.stack.train import KIND
from pipelines.stack.training import margins, read_boosters, read_inputs
from pipelines.stack_config import StackPredictConfig


def predict(config: StackPredictConfig) -> int:
    """Write the predictions of an archive; return 1 past `max_failed`.

    A lesion is compared with all lesions of its patient in the archive, whatever the subset.

    Raises
    ------
    LesionError
        No finished stack, another number of scores than in training, or no lesions.
    """
    run = Run.load(config.weights, KIND)
    trained = run.record["config"]
    names = [one["name"] for one in run.record["scores"]]
    if len(config.scores) != len(names):
        raise UsageError(
            f"{len(config.scores)} tables of scores, and {config.weights} learned from "
            f"{len(names)}",
            wanted="scores of these images by: " + (", ".join(names) or "nobody"),
            mend="say --scores once for each, in this order",
        )
    if (config.masks is None) != (trained["masks"] is None):
        log.warning(
            "%s learned %s measured masks, and these lesions come %s",
            config.weights,
            "without" if trained["masks"] is None else "with",
            "without" if config.masks is None else "with",
        )
    rows, _ = load_rows(config, trained["without"], names)
    rows = _subset(rows, config)
    learned = split_ids(read_split(run.path("split.csv")), "train")
    known = int(rows.manifest["image_id"].isin(learned).sum())
    if known:
        log.warning(
            "%d of %d lesions were trained on by this stack: their probabilities are too good to "
            "judge it by (its oof.csv has honest ones)",
            known,
            len(rows),
        )
    chance = probabilities(run, rows, choose_workers(config.workers))
    table = rows.manifest[["image_id"]].assign(
        malignant=chance, model=f"stack {config.weights.resolve().name}"
    )
    write_table(config.out, table)
    log.info("wrote %d rows to %s", len(table), config.out)
    failed = int(np.isnan(chance).sum())
    if failed:
        log.warning("%d of %d lesions have no probability: a score is missing", failed, len(table))
    return int(failed > config.max_failed)


def probabilities(run: Run, rows: StackRows, threads: int = 1) -> np.ndarray:
    """Return the probability of malignancy of each row, (n,) float64, NaN without its scores."""
    logits = []
    for number in range(run.members):
        folder = run.member(number)
        inputs = read_inputs(folder)
        if number == 0:
            inputs.warn_of_missing(rows)
        matrix = inputs.matrix(rows)
        added = [
            margins(read_boosters(folder, name, threads), matrix.values)
            for name in run.record["config"]["algorithms"]
        ]
        logits.append(matrix.start + np.mean(added, axis=0))
    return np.asarray(1 / (1 + np.exp(-np.mean(logits, axis=0))))


def _subset(rows: StackRows, config: StackPredictConfig) -> StackRows:
    chosen = choose_subset(
        rows.manifest,
        config.subset,
        dataset=config.dataset,
        test_list=config.test_list,
        weights=config.weights,
    )
    kept = rows.manifest["image_id"].isin(set(chosen["image_id"])).to_numpy()
    return rows.take(np.flatnonzero(kept))
