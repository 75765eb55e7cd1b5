"""`lesion ensemble`: scores of several models as one, with weights that saw no label they judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesioncore.errors import LesionError, UsageError
from lesioncore.files import read_json, write_json, write_table
from lesioncore.progress import log
from lesioncore.runs import tool_version
from lesioncore.splits import assign_groups, make_split
from lesioncore.subsets import run_split
from pipelines.ensemble_config import EnsembleConfig
from pipelines.ensembles.combination import Combination, from_scale, make_combination
from pipelines.ensembles.diversity import pairwise, score_members
from pipelines.ensembles.members import Source, find_sources, join_scores
from pipelines.ensembles.page import page_lines
from pipelines.ensembles.weights import fit_slopes, nested_weights
from pipelines.scoring_config import EvaluateConfig
from pipelines.scoring_table import read_truth

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """What is known of the rows that are joined.

    Attributes
    ----------
    labels : (n,) float64, 1 malignant, 0 benign, NaN unknown
    groups : (n,) str, patients or lesions
    policy : str
    """

    labels: Array
    groups: NDArray[Any]
    policy: str

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which rows have a label."""
        return ~np.isnan(self.labels)


def ensemble(config: EnsembleConfig) -> int:
    """Write the joined predictions and, beside them, how they were made.

    Raises
    ------
    LesionError
        A table without ids or scores, rows that some member lacks, labels that are needed and
        missing, scores that are no probabilities where the method needs them.
    """
    sources = find_sources(config.members, out_of_fold=config.fitted is None)
    table = join_scores(sources, id_column=config.id_column, max_failed=config.max_failed)
    if config.fitted is not None:
        combination = Combination.from_dict(_fitted(config))
        if len(sources) != len(combination.names):
            raise UsageError(
                f"{len(sources)} members, and {config.fitted} joins {len(combination.names)}",
                wanted=f"in this order: {', '.join(combination.names)}",
            )
        log.info("%s", _order_of(combination.names, sources))
        scores = table[[source.name for source in sources]].to_numpy(np.float64)
        _write(config, table, combination.join(scores), combination)
        return 0
    truth = _truth(config, sources, table)
    combination, joined, record = fit(config, sources, table, truth)
    _write(config, table, joined, combination, truth)
    beside = config.out.with_suffix(".json")
    write_json(beside, record)
    for line in page_lines(record):
        print(line)
    log.info("how they were joined: %s", beside)
    return 0


def fit(
    config: EnsembleConfig, sources: list[Source], table: pd.DataFrame, truth: Truth | None
) -> tuple[Combination, Array, dict[str, Any]]:
    """Return the combination of all rows, the joined scores (n,), and the record of both.

    With the method `weights` the scores of a fold are joined by weights of the other folds.
    """
    names = [source.name for source in sources]
    scores = table[names].to_numpy(np.float64)
    folds = None
    if config.method == "weights":
        if truth is None:
            raise LesionError(
                "weights are fitted to labels, and there are none",
                wanted="--labels TABLE, or a first member with labels beside its scores",
                mend="--method rank, which needs none",
            )
        folds = _folds(config, table, truth)
    combination, joined, by_fold = _join(config.method, names, scores, truth, folds)
    record: dict[str, Any] = {
        **combination.to_dict(),
        "tool_version": tool_version(),
        "n": len(table),
        "sources": [{"path": str(s.path), "column": s.column} for s in sources],
        "pairs": pairwise(names, scores),
    }
    if by_fold:
        record["weights_by_fold"] = [list(weights) for weights in by_fold]
    if truth is not None and np.unique(truth.labels[truth.known]).size == 2:
        known = truth.known

        def without(number: int) -> Array:
            rest = [name for place, name in enumerate(names) if place != number]
            others = np.delete(scores, number, axis=1)
            return _join(config.method, rest, others, truth, folds)[1][known]

        record |= {
            "positives": int(truth.labels[known].sum()),
            "labelled": int(known.sum()),
            "policy": truth.policy,
            "scores": score_members(
                names, scores[known], joined[known], without, truth.labels[known],
                truth.groups[known], resamples=config.resamples, seed=config.seed,
            ),
        }  # fmt: skip
    return combination, joined, record


def _join(
    method: str,
    names: list[str],
    scores: Array,
    truth: Truth | None,
    folds: NDArray[np.int64] | None,
) -> tuple[Combination, Array, list[tuple[float, ...]]]:
    equal = make_combination(method, names, scores)
    if method != "weights" or truth is None or folds is None:
        return equal, equal.join(scores), []
    known = truth.known
    scaled = equal.scaled(scores)
    labels = truth.labels[known]
    combination = make_combination(method, names, scores, fit_slopes(scaled[known], labels).weights)
    by_fold = nested_weights(scaled[known], labels, folds[known])
    # A row without a label is joined by the weights of all: they know nothing of it.
    weights = np.tile(combination.weights, (len(scores), 1))
    weights[known] = np.asarray(by_fold)[folds[known]]
    return combination, from_scale((scaled * weights).sum(axis=1), equal.scale), by_fold


def _truth(config: EnsembleConfig, sources: list[Source], table: pd.DataFrame) -> Truth | None:
    """Return the labels of the table's rows; None where nobody gave any."""
    import pandas as pd

    given = EvaluateConfig(
        predictions=sources[0].path,
        labels=config.labels,
        id_column=config.id_column,
        label_column=config.label_column,
        policy=config.policy,
        source=config.source,
    )
    try:
        known, policy = read_truth(given)
    except LesionError:
        if config.labels is not None or config.label_column is not None:
            raise
        return None
    lost = int((~table["image_id"].isin(known["image_id"])).sum())
    if lost > config.max_failed:
        raise LesionError(
            f"{lost} of {len(table)} rows have no row of labels",
            wanted=f"at most {config.max_failed} such rows (--max-failed)",
            mend="complete the labels",
        )
    rows = table[["image_id"]].merge(known, on="image_id", how="left")
    groups = assign_groups(rows)
    splits = [run_split(source.path.parent) for source in sources]
    split = next((found for found in splits if found is not None), None)
    if split is not None and rows["patient_id"].isna().all():
        # A run's predictions do not name patients; its split does.
        groups = split.set_index("image_id")["group"].reindex(groups.index).fillna(groups)
    return Truth(pd.to_numeric(rows["label"]).to_numpy(np.float64), groups.to_numpy(), policy)


def _folds(config: EnsembleConfig, table: pd.DataFrame, truth: Truth) -> NDArray[np.int64]:
    """Return the fold of each row, by whole patients; -1 without a label."""
    import pandas as pd

    known = truth.known
    rows = table.loc[known, ["image_id"]]
    groups = pd.Series(truth.groups[known], index=rows["image_id"])
    split = make_split(
        rows, folds=config.folds, seed=config.seed, labels=truth.labels[known], groups=groups
    )
    found = np.full(len(table), -1, np.int64)
    found[known] = split["fold"].to_numpy()
    return found


def _write(
    config: EnsembleConfig,
    table: pd.DataFrame,
    joined: Array,
    combination: Combination,
    truth: Truth | None = None,
) -> None:
    written = table[["image_id"]].assign(malignant=joined)
    if truth is not None:
        written.insert(1, "target", truth.labels)
    written["model"] = f"{combination.method} of {' + '.join(combination.names)}"
    write_table(config.out, written)
    if combination.scale == "rank":
        log.info("means of ranks are no probabilities: `lesion calibrate` makes some of them")
    log.info("wrote %d rows to %s", len(written), config.out)


def _fitted(config: EnsembleConfig) -> dict[str, Any]:
    assert config.fitted is not None
    found = read_json(config.fitted)
    return found if isinstance(found, dict) else {}


def _order_of(names: tuple[str, ...], sources: list[Source]) -> str:
    pairs = (f"{s.path} as {name}" for name, s in zip(names, sources, strict=True))
    return f"joined by order: {', '.join(pairs)}"
