"""`lesion stack train`: members on patient-grouped folds, each scored on what it did not see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clsstage.sampling import check_two_classes
from lesioncore.diagnoses import labels as labels_of
from lesioncore.errors import LesionError, UsageError, unknown_name
from lesioncore.files import read_json, read_table, sha256_file, write_json, write_table, write_text
from lesioncore.holdout import test_ids
from lesioncore.metrics import (
    bootstrap,
    paired_bootstrap,
    partial_auc,
    roc_auc,
    score_malignancy,
    score_text,
)
from lesioncore.progress import log
from lesioncore.readers import policy_of
from lesioncore.runs import OUT_OF_FOLD, VALIDATION, Run
from lesioncore.splits import (
    check_split,
    make_split,
    member_count,
    member_ids,
    read_split,
    write_split,
)
from lesioncore.subsets import run_split
from pipelines.ensembles.members import Source, refuse_lacking
from pipelines.stack.boosters import booster_class, library
from pipelines.stack.explanation import Explained, explain, importance_table
from pipelines.stack.features.table import FAMILIES, SCORE, score_columns
from pipelines.stack.figure import write_shap_plot
from pipelines.stack.rows import StackRows, load_rows
from pipelines.stack.summary import summary
from pipelines.stack.training import MemberTraining, log_progress, margins
from pipelines.stack_config import StackTrainConfig

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

KIND = "lesion stack"
_ALONE = {"auc": roc_auc, "pauc": partial_auc}


def train(config: StackTrainConfig) -> None:
    """Train the members of a stack; a killed or repeated call goes on where it stopped.

    Raises
    ------
    LesionError
        A missing library, scores or labels that are missing, a run folder of another config, and
        whatever the reader finds wrong.
    """
    for name in config.algorithms:
        booster_class(name)
        library(name)
    for family in config.without:
        if family not in (*FAMILIES, "rates"):
            raise unknown_name("family of features", family, (*FAMILIES, "rates"))
    run = Run.open(config.out, KIND, config) if (config.out / "run.json").is_file() else None
    if run is not None and run.complete:
        log.info("%s is complete: nothing to do (see %s)", config.out, run.path("summary.md"))
        return
    rows, sources = load_rows(config, config.without)
    policy = policy_of(config.dataset, config.policy)
    labels = labels_of(rows.manifest, policy)
    rows, labels = _known(rows, labels, policy)
    split = _split(config, rows, labels)
    rows, labels, split = _scored(config, rows, labels, split)
    check_split(split, rows.manifest)
    if run is None:
        run = Run.open(config.out, KIND, config)
    _pin(run, sources)
    write_split(run.path("split.csv"), split)
    held_out, explained = _members(config, run, rows, labels, split)
    _finish(run, config, rows, split, held_out, explained, policy)


def _known(rows: StackRows, labels: Array, policy: str) -> tuple[StackRows, Array]:
    """Return the rows with a label; the others were only company for those of their patient."""
    known = np.flatnonzero(~np.isnan(labels))
    if len(known) < len(rows):
        log.info(
            "%d of %d lesions have no label under the policy %r and are not learned from",
            len(rows) - len(known),
            len(rows),
            policy,
        )
    check_two_classes(labels[known], "labelled lesions", policy)
    return rows.take(known), labels[known]


def _split(config: StackTrainConfig, rows: StackRows, labels: Array) -> pd.DataFrame:
    """Return the split of the run: that on disk, that of another run, or a new one."""
    manifest = rows.manifest
    there = config.out / "split.csv"
    if there.is_file():
        split = read_split(there)
        lost = set(split["image_id"]) - set(manifest["image_id"])
        if lost:
            raise LesionError(
                f"{len(lost)} lesions of {there} are no longer in the archive (first: {min(lost)})",
                wanted="the archive that the run began with",
                mend="choose another --out",
            )
        return split
    if config.folds_from is None:
        return make_split(
            manifest,
            folds=config.folds,
            seed=config.seed,
            labels=labels,
            test_ids=test_ids(manifest, config.dataset, config.test_list),
        )
    other = run_split(config.folds_from) if config.folds_from.is_dir() else None
    split = read_split(config.folds_from) if other is None else other
    if member_count(split) < 2:
        raise UsageError(
            f"{config.folds_from} is a single split", wanted="folds, 2 or more of them"
        )
    lost = set(manifest["image_id"]) - set(split["image_id"])
    if lost:
        raise LesionError(
            f"{len(lost)} of {len(manifest)} labelled lesions are not in {config.folds_from} "
            f"(first: {min(lost)})",
            wanted="a split of these lesions",
            mend="leave out --folds-from",
        )
    return split[split["image_id"].isin(manifest["image_id"])].reset_index(drop=True)


def _scored(
    config: StackTrainConfig, rows: StackRows, labels: Array, split: pd.DataFrame
) -> tuple[StackRows, Array, pd.DataFrame]:
    """Return what is left without the training lesions that lack an image score."""
    place = split.set_index("image_id").reindex(rows.manifest["image_id"])
    resumed = place["role"].isna().to_numpy()  # left out when the run began
    training = (place["role"] == "train").to_numpy()
    lacking = training & ~rows.scored
    names = score_columns(rows.manifest)
    counts = {n: int(rows.manifest[n].isna().to_numpy()[training].sum()) for n in names}
    refuse_lacking(int(lacking.sum()), int(training.sum()), counts, config.max_failed)
    kept = np.flatnonzero(~lacking & ~resumed)
    left = rows.take(kept)
    split = split[split["image_id"].isin(left.manifest["image_id"])].reset_index(drop=True)
    return left, labels[kept], split


def _pin(run: Run, sources: list[Source]) -> None:
    """Keep which scores the run learns from; refuse others when it goes on."""
    now = [{"name": s.name, "sha256": sha256_file(s.path)} for s in sources]
    before = run.record.get("scores")
    if before is not None and before != now:
        raise LesionError(
            f"the scores have changed since {run.folder} began",
            wanted="the same tables, to go on with that run",
            mend=f"choose another --out, or remove {run.folder}",
        )
    run.update(scores=now)


def _members(
    config: StackTrainConfig, run: Run, rows: StackRows, labels: Array, split: pd.DataFrame
) -> tuple[pd.DataFrame, list[Explained]]:
    """Return the predictions of held-out lesions and what they rest on, member by member."""
    import pandas as pd

    place = pd.Index(rows.manifest["image_id"])
    groups = split.set_index("image_id")["group"].reindex(place).to_numpy()
    count = member_count(split)
    finished = sum(
        (run.member(number) / f"{name}.json").is_file()
        for number in range(count)
        for name in config.algorithms
    )
    if finished:
        log.info("%d of %d parts are there already", finished, count * len(config.algorithms))
    done = log_progress(finished, count * len(config.algorithms))
    tables, explained = [], []
    for number in range(count):
        learned, held = (place.get_indexer(ids) for ids in map(pd.Index, member_ids(split, number)))
        job = MemberTraining(
            config, run.member(number), number, rows.take(learned), labels[learned],
            groups[learned], done,
        )  # fmt: skip
        inputs, boosters = job.run()
        seen = rows.take(held)
        explained.append(explain(inputs, boosters, seen, labels[held], config.seed + number))
        path = run.member(number) / VALIDATION
        if not path.is_file():
            matrix = inputs.matrix(seen)
            alone = {name: margins(some, matrix.values) for name, some in boosters.items()}
            table = pd.DataFrame(
                {
                    "image_id": seen.manifest["image_id"],
                    "target": labels[held],
                    "malignant": _chance(matrix.start + np.mean(list(alone.values()), axis=0)),
                    "fold": number,
                    "start": _chance(matrix.start),
                    **{name: _chance(matrix.start + margin) for name, margin in alone.items()},
                }
            )
            write_table(path, table)
        tables.append(read_table(path, dtype={"image_id": str}))
    return pd.concat(tables, ignore_index=True), explained


def _finish(
    run: Run,
    config: StackTrainConfig,
    rows: StackRows,
    split: pd.DataFrame,
    held_out: pd.DataFrame,
    explained: list[Explained],
    policy: str,
) -> None:
    write_table(run.path(OUT_OF_FOLD), held_out)
    groups = split.set_index("image_id")["group"].reindex(held_out["image_id"]).to_numpy()
    names = [name[len(SCORE) :] for name in score_columns(rows.manifest)]
    with_start = config.start == "scores" and bool(names)
    scores = {
        "n": len(held_out),
        "positives": int((held_out["target"] == 1).sum()),
        "policy": policy,
        "subset": "validation",
        "sources": sorted(rows.manifest["source"].dropna().unique().tolist()),
        "features": explained[0].values.shape[1] - int(with_start),
        "image_scores": names,
        **score_malignancy(
            held_out["target"], held_out["malignant"], groups,
            resamples=config.resamples, seed=config.seed,
        ),
        **_compared(held_out, groups, [*(["start"] if with_start else []), *config.algorithms],
                    config),
    }  # fmt: skip
    families = dict(zip(rows.features.names, rows.features.families, strict=True))
    importance = importance_table(explained, families)
    records = [
        {"member": number, **read_json(run.member(number) / f"{name}.json")}
        for number in range(member_count(split))
        for name in config.algorithms
    ]
    write_table(run.path("importance.csv"), importance)
    write_shap_plot(run.path("shap.png"), explained, importance)
    write_json(run.path("metrics.json"), scores)
    page = summary(config, run.folder, split, scores, importance, records)
    write_text(run.path("summary.md"), page)
    run.finish(members=member_count(split))
    log.info(
        "held-out AUC %s, pAUC %s (%d lesions)",
        score_text(scores["auc"]),
        score_text(scores["pauc"]),
        len(held_out),
    )


def _compared(
    held_out: pd.DataFrame, groups: NDArray[Any], columns: list[str], config: StackTrainConfig
) -> dict[str, Any]:
    """Return the scores of each column of the table alone, and the stack minus it."""
    options: dict[str, Any] = {"groups": groups, "n": config.resamples, "seed": config.seed}
    y, stack = held_out["target"], held_out["malignant"]
    titles = {"start": "the image scores alone"}
    alone, differences = {}, {}
    for name in columns:
        title, column = titles.get(name, name), held_out[name]
        alone[title] = {k: bootstrap(m, y, column, **options).to_dict() for k, m in _ALONE.items()}
        if name in titles:
            differences[title] = {
                k: paired_bootstrap(m, y, stack, column, **options).to_dict()
                for k, m in _ALONE.items()
            }
    return {"alone": alone, "differences": differences}


def _chance(logit: Array) -> Array:
    return 1 / (1 + np.exp(-logit))
