"""Predictions joined with their labels, by the usual names of columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesioncore.diagnoses import harmonise, malignant
from lesioncore.errors import LesionError, UsageError
from lesioncore.files import read_table
from lesioncore.progress import log
from lesioncore.readers.tables import ALIASES, clean_ids, target_values
from lesioncore.splits import assign_groups
from pipelines.scoring_config import EvaluateConfig

SCORE_NAMES = ("malignant", "score", "probability", "prediction", "prob", "oof_prediction")
# The ids of a table that was read, whatever the file calls them.
_ID = "id of the row"
LABEL_NAMES = ("target", "label", "malignant", "benign_malignant")


@dataclass(frozen=True)
class ScoredRows:
    """What is scored, and what was left out.

    Attributes
    ----------
    labels : (n,) float64, 1 malignant, 0 benign
    scores : dict of name to (n,) float64, higher = more malignant
    groups : (n,) str, what the bootstrap draws as a whole
    grouped_by : str, the columns that the groups come from; `row` where there are none
    patients : (n,) str, or None where not every row has a patient
    policy : str, what the labels call malignant
    unmatched : dict of reason to number of rows
    unlabelled : int, rows whose label is unknown; they cannot be scored and are no failure
    """

    labels: npt.NDArray[np.float64]
    scores: dict[str, npt.NDArray[np.float64]]
    groups: npt.NDArray[Any]
    grouped_by: str
    patients: npt.NDArray[Any] | None
    policy: str
    unmatched: dict[str, int]
    unlabelled: int


def scored_rows(config: EvaluateConfig) -> ScoredRows:
    """Return the rows that have a label and a score.

    Raises
    ------
    LesionError
        A file or a column is missing, an id is there twice, more than `max_failed` rows have no
        partner or no score, or no row is left.
    """
    predictions = _read(config.predictions, config)
    apart = config.labels is not None
    truth = predictions if config.labels is None else _read(config.labels, config)
    table, policy, label_name = _truth_table(truth, config, apart)
    names = _score_columns(predictions, config, None if apart else label_name)
    table["group"] = _group_column(truth, predictions, config)
    scores = pd.DataFrame(
        {f"score {name}": _numbers(predictions, name, config.predictions) for name in names}
    )
    scores.insert(0, "image_id", predictions[_ID])
    joined = table.merge(scores, on="image_id", how="outer", indicator="side", sort=False)
    columns = list(scores.columns[1:])
    both = (joined["side"] == "both").to_numpy()
    unlabelled = both & joined["label"].isna().to_numpy()
    complete = both & joined[columns].notna().all(axis=1).to_numpy()
    unmatched = {
        "predictions without a label row": int((joined["side"] == "right_only").sum()),
        "labels without a prediction": int(
            ((joined["side"] == "left_only") & joined["label"].notna()).sum()
        ),
        "rows without a score": int((both & ~complete & ~unlabelled).sum()),
    }
    _refuse_past(unmatched, config)
    used = joined[complete & ~unlabelled].reset_index(drop=True)
    if used.empty:
        raise LesionError(
            f"no row has both a label and a score ({int(unlabelled.sum())} have no known label)",
            wanted="the same ids in the predictions and in the labels",
            mend="name the columns with --id-column, --score-column, --label-column",
        )
    groups, grouped_by = _groups(used, config)
    patients = used["patient_id"]
    return ScoredRows(
        labels=used["label"].to_numpy(np.float64),
        scores={
            name: used[column].to_numpy(np.float64)
            for name, column in zip(names, columns, strict=True)
        },
        groups=groups,
        grouped_by=grouped_by,
        patients=patients.to_numpy() if patients.notna().all() else None,
        policy=policy,
        unmatched=unmatched,
        unlabelled=int(unlabelled.sum()),
    )


def read_scores(config: EvaluateConfig, named_by: str = "--score-column") -> pd.DataFrame:
    """Return the scores of `predictions` without looking at labels, one row an image.

    Parameters
    ----------
    config : EvaluateConfig
        Of which the first score column counts.
    named_by : str
        How the caller's user names the column of scores; errors say so.

    Returns
    -------
    DataFrame
        `image_id`, and `score` (float64, NaN where there is none).

    Raises
    ------
    LesionError
        No file, no column of ids or scores, ids that are there twice, or a column of labels.
    """
    table = _read(config.predictions, config)
    name = _score_columns(table, config, None, named_by)[0]
    scores = _numbers(table, name, config.predictions, named_by)
    return pd.DataFrame({"image_id": table[_ID], "score": scores})


def read_truth(config: EvaluateConfig) -> tuple[pd.DataFrame, str]:
    """Return `image_id`, `label`, `patient_id`, `lesion_id` of `labels`, and the policy.

    Without `labels` they are those beside the predictions. A label is 1, 0, or NaN for unknown.
    """
    path = config.labels or config.predictions
    table, policy, _ = _truth_table(_read(path, config), config, config.labels is not None)
    return table, policy


def _truth_table(
    truth: pd.DataFrame, config: EvaluateConfig, apart: bool
) -> tuple[pd.DataFrame, str, str]:
    """Return ids, labels, patients and lesions; the policy; the column of the labels."""
    labels, policy, label_name = _labels(truth, config, apart)
    table = pd.DataFrame({"image_id": truth[_ID], "label": labels})
    for name in ("patient_id", "lesion_id"):
        column = _first(truth, ALIASES[name])
        table[name] = truth[column] if column else None
    return table, policy, label_name


def _read(path: Path, config: EvaluateConfig) -> pd.DataFrame:
    """Return a table with its ids as text under `_ID`, each once."""
    named = (config.id_column, config.group_column)
    known = [*ALIASES["image_id"], *ALIASES["patient_id"], *ALIASES["lesion_id"], *named]
    text = {name: str for name in known if name}  # or 0012 would become 12
    csv = path.suffix.lower() != ".parquet"
    table = read_table(path, **({"dtype": text} if csv else {}))
    # --id-column names the column in whichever of the two files has it.
    column = config.id_column if config.id_column in table else None
    column = column or _first(table, ALIASES["image_id"])
    if column is None:
        raise LesionError(
            f"{path} has no column of ids (it has: {_some(table.columns)})",
            wanted=config.id_column or f"one of: {', '.join(ALIASES['image_id'])}",
            mend="name it with --id-column",
        )
    table[_ID] = clean_ids(table[column])
    twice = table[_ID].duplicated() | table[_ID].isna()
    if twice.any():
        raise LesionError(
            f"{path}: {int(twice.sum())} rows have an id that is empty or was there before "
            f"(first: {table[_ID][twice].iloc[0]})",
            wanted="each image once",
        )
    return table


def _labels(
    truth: pd.DataFrame, config: EvaluateConfig, apart: bool
) -> tuple[npt.NDArray[np.float64], str, str]:
    """Return labels (1, 0, NaN), the policy and the column that they come from."""
    path = config.labels or config.predictions
    if config.policy not in ("auto", "target"):
        column = config.label_column or _first(truth, ALIASES["diagnosis"])
        _require(truth, column, path, ALIASES["diagnosis"], "--label-column")
        words = truth[str(column)]
        table = {word: harmonise(config.source or "", word) for word in words.dropna().unique()}
        foreign = [str(word) for word, name in table.items() if name is None]
        if foreign:
            log.warning("%d diagnoses count as unknown: %s", len(foreign), _some(foreign))
        return malignant(words.map(table), config.policy), config.policy, str(column)
    known = LABEL_NAMES if apart else [name for name in LABEL_NAMES if name not in SCORE_NAMES]
    column = config.label_column or _first(truth, known)
    if column is None and _first(truth, ALIASES["diagnosis"]):
        raise UsageError(
            f"{path} has diagnoses and no label",
            wanted="to know which diagnoses count as malignant",
            mend="--policy cancer, --policy cancer+ak or --policy melanoma",
        )
    _require(truth, column, path, known, "--label-column or a file with --labels")
    values = target_values(truth[str(column)], str(column)).to_numpy(np.float64)
    wrong = ~(np.isnan(values) | (values == 0) | (values == 1))
    if wrong.any():
        raise LesionError(
            f"{path}: column {column} holds {values[wrong][0]:g}, which is no label",
            wanted="1 malignant, 0 benign, or nothing where it is unknown",
            mend="name the column of labels with --label-column",
        )
    return values, "target", str(column)


def _score_columns(
    predictions: pd.DataFrame,
    config: EvaluateConfig,
    label: str | None,
    named_by: str = "--score-column",
) -> list[str]:
    if config.score_column:
        for name in config.score_column:
            _require(predictions, name, config.predictions, (name,), named_by)
        return list(dict.fromkeys(config.score_column))
    known = SCORE_NAMES if label else (*SCORE_NAMES, "target")
    column = _first(predictions, [name for name in known if name != label])
    _require(predictions, column, config.predictions, known, named_by, "column of scores")
    if column == "target" and predictions[column].dropna().isin((0, 1)).all():
        raise LesionError(
            f"{config.predictions}: the only score known by its name is target, "
            "which holds labels (0 and 1)",
            wanted=f"a column of scores (it has: {_some(_own(predictions))})",
            mend=f"name it with {named_by}",
        )
    return [str(column)]


def _group_column(truth: pd.DataFrame, predictions: pd.DataFrame, config: EvaluateConfig) -> Any:
    """Return the values of `--group-column` for the rows of `truth`, from whichever file has it."""
    name = config.group_column
    if name is None:
        return None
    if name in truth:
        return truth[name]
    _require(predictions, name, config.predictions, (name,), "--group-column")
    return truth[_ID].map(predictions.set_index(_ID)[name])


def _groups(used: pd.DataFrame, config: EvaluateConfig) -> tuple[npt.NDArray[Any], str]:
    if config.group_column:
        own = "row of " + used["image_id"]  # a row without a group stands alone
        return used["group"].astype(object).fillna(own).to_numpy(), config.group_column
    known = [name for name in ("patient_id", "lesion_id") if used[name].notna().any()]
    return assign_groups(used).to_numpy(), " and ".join(known) or "row"


def _refuse_past(unmatched: dict[str, int], config: EvaluateConfig) -> None:
    total = sum(unmatched.values())
    counts = ", ".join(f"{number} {reason}" for reason, number in unmatched.items() if number)
    if total > config.max_failed:
        raise LesionError(
            f"not every row can be scored: {counts}",
            wanted=f"at most {config.max_failed} such rows (--max-failed)",
            mend=f"complete the predictions, or score the rest with --max-failed {total}",
        )
    if total:
        log.warning("left out: %s", counts)


def _numbers(
    table: pd.DataFrame, column: str, path: Path, named_by: str = "--score-column"
) -> pd.Series:
    try:
        return pd.to_numeric(table[column]).astype("float64")
    except (TypeError, ValueError) as error:
        raise LesionError(
            f"{path}: column {column} is not a column of numbers ({error})",
            wanted="one score a row, higher for more malignant",
            mend=f"name another with {named_by}",
        ) from error


def _first(table: pd.DataFrame, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in table), None)


def _require(
    table: pd.DataFrame, column: str | None, path: Path, known: Sequence[str], flag: str,
    what: str = "column of labels",
) -> None:  # fmt: skip
    if column is None or column not in table:
        raise LesionError(
            f"{path} has no {f'column {column}' if column else what} "
            f"(it has: {_some(_own(table))})",
            wanted=None if column else f"one of: {', '.join(known)}",
            mend=f"name it with {flag}",
        )


def _own(table: pd.DataFrame) -> list[str]:
    return [str(name) for name in table if name != _ID]


def _some(names: Sequence[Any] | pd.Index) -> str:
    shown = ", ".join(str(name) for name in list(names)[:12])
    return shown + (f" and {len(names) - 12} more" if len(names) > 12 else "")
