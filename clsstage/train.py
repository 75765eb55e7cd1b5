"""`clsstage train`: members on a grouped split, each resumable, scored on what it did not see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lesioncore.duplicates import content_duplicates
from lesioncore.holdout import test_ids

from clsstage.config import TrainConfig
from clsstage.examples import Examples, load_examples
from clsstage.focus_names import parse_focus
from clsstage.masks import check_snapshot, check_training_masks, open_masks, snapshot
from clsstage.member_training import MemberTraining
from clsstage.sampling import check_two_classes
from clsstage.summary import score, summarise
from lesioncore.errors import LesionError
from lesioncore.files import read_json, write_json, write_table
from lesioncore.progress import log
from lesioncore.runs import Run
from lesioncore.splits import (
    assign_groups,
    check_split,
    make_split,
    member_count,
    member_ids,
    read_split,
    write_split,
)

if TYPE_CHECKING:
    import pandas as pd

    from lesioncore.cache import MaskCache


def train(config: TrainConfig) -> None:
    """Train the members of a run; a killed or repeated call goes on where it stopped.

    Raises
    ------
    LesionError
        Labels of one class, a mask cache that is missing, incomplete, in-sample or changed, a
        run folder of another config, and whatever the reader finds wrong.
    """
    if parse_focus(config.focus).needs_mask and config.masks is None:
        raise LesionError(
            f"the focus {config.focus!r} needs masks and none were given",
            wanted="a mask cache of these images",
            mend="segstage cache ... --out cache/ and then --masks cache/, or --focus full",
        )
    examples = load_examples(config, config.policy, seed=config.seed)
    check_two_classes(examples.labels, "labelled images", examples.policy)
    run = Run.open(config.out, "clsstage", config)
    if run.complete:
        log.info("%s is complete: nothing to do (see %s)", config.out, run.path("summary.md"))
        return
    split = _split(run, config, examples)
    used = split.loc[split["role"] == "train", "image_id"].tolist()
    cache, pinned = _masks(run, config, used)
    members = member_count(split)
    parts = []
    for number in range(members):
        train_ids, val_ids = member_ids(split, number)
        log.info(
            "member %d of %d: %d training and %d validation images",
            number + 1,
            members,
            len(train_ids),
            len(val_ids),
        )
        job = MemberTraining(config, run.member(number), number, cache, pinned)
        parts.append(job.run(examples.take(train_ids), examples.take(val_ids)))
    import pandas as pd

    held_out = pd.concat(parts, ignore_index=True)
    write_table(run.path("oof.csv"), held_out)
    groups = split.set_index("image_id")["group"].reindex(held_out["image_id"]).to_numpy()
    scores = score(held_out["target"].to_numpy(), held_out["malignant"].to_numpy(), groups)
    scores |= {"policy": examples.policy, "part": "out-of-fold" if members > 1 else "validation"}
    write_json(run.path("metrics.json"), scores)
    run.path("summary.md").write_text(summarise(config, run, split, held_out, scores, pinned))
    run.finish(members=members)
    log.info(
        "%s AUC %.4f [%.4f, %.4f]  pAUC %.4f",
        scores["part"],
        *(scores["auc"][key] for key in ("value", "low", "high")),
        scores["pauc"]["value"],
    )


def _split(run: Run, config: TrainConfig, examples: Examples) -> pd.DataFrame:
    """Return the run's split: the one on disk, or a new one."""
    manifest = examples.manifest
    path = run.path("split.csv")
    if path.is_file():
        split = read_split(path)
        check_split(split, manifest)
        return split
    duplicates = content_duplicates(manifest)
    split = make_split(
        manifest,
        folds=config.folds,
        seed=config.seed,
        val_fraction=config.val_fraction,
        labels=examples.labels,
        test_ids=test_ids(manifest, config.dataset, config.test_list),
        groups=assign_groups(manifest, duplicates),
    )
    check_split(split, manifest, duplicates)
    write_split(path, split)
    return split


def _masks(
    run: Run, config: TrainConfig, image_ids: list[str]
) -> tuple[MaskCache | None, dict[str, Any] | None]:
    """Return the checked cache and its snapshot, pinned in the run's `masks.json`."""
    if config.masks is None or not parse_focus(config.focus).needs_mask:
        return None, None
    cache = open_masks(config.masks)
    check_training_masks(
        cache, image_ids, config.masks, allow_in_sample=config.allow_in_sample_masks
    )
    now = snapshot(cache, image_ids, config.masks)
    path = run.path("masks.json")
    if path.is_file():
        check_snapshot(read_json(path), now)
    else:
        write_json(path, now)
    return cache, now
