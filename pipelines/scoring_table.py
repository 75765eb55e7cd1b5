"""Predictions joined with their labels, by the usual names of columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lesioncore.diagnoses import harmonise, malignant
from lesioncore.errors import LesionError, UsageError
from lesioncore.progress import log
from lesioncore.readers.tables import ALIASES, target_values
from lesioncore.sites import (
    UNKNOWN_WORDS,
    harmonise_sex,
    harmonise_site,
    map_words,
    plain_words,
)
from lesioncore.splits import assign_groups
from pipelines.scoring_config import EvaluateConfig
from pipelines.scoring_files import (
    ID,
    SCORE_NAMES,
    compared_scores,
    first_known,
    numbers,
    read_rows,
    require,
    score_columns,
    some,
)

LABEL_NAMES = ("target", "label", "malignant", "benign_malignant")
DIAGNOSIS_NAMES = (*ALIASES["diagnosis"], "iddx_full")


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
    diagnoses : (n,) object, disease of each row, None where it is not stated; None without any
    about : DataFrame or None, `image_id` and, where known, `age` (years), `sex`, `site` of a row
    """

    labels: npt.NDArray[np.float64]
    scores: dict[str, npt.NDArray[np.float64]]
    groups: npt.NDArray[Any]
    grouped_by: str
    patients: npt.NDArray[Any] | None
    policy: str
    unmatched: dict[str, int]
    unlabelled: int
    diagnoses: npt.NDArray[Any] | None = None
    about: pd.DataFrame | None = None


def scored_rows(config: EvaluateConfig) -> ScoredRows:
    """Return the rows that have a label and a score of every model.

    Raises
    ------
    LesionError
        A file or a column is missing, an id is there twice, more than `max_failed` rows have no
        partner or no score, or no row is left.
    """
    predictions = read_rows(config.predictions, config)
    apart = config.labels is not None
    truth = predictions if config.labels is None else read_rows(config.labels, config)
    table, policy, label_name = _truth_table(truth, config, apart)
    table["group"] = _group_column(truth, predictions, config)
    table = table.assign(**_known_of(truth, predictions, config))
    scores = compared_scores(predictions, config, None if apart else label_name)
    models = [str(name) for name in scores if name != ID]
    columns = [f"score {name}" for name in models]
    scores.columns = pd.Index(["image_id", *columns])
    joined = table.merge(scores, on="image_id", how="outer", indicator="side", sort=False)
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
            for name, column in zip(models, columns, strict=True)
        },
        groups=groups,
        grouped_by=grouped_by,
        patients=patients.to_numpy() if patients.notna().all() else None,
        policy=policy,
        unmatched=unmatched,
        unlabelled=int(unlabelled.sum()),
        diagnoses=used["diagnosis"].to_numpy(object) if "diagnosis" in used else None,
        about=used[[name for name in ("image_id", "age", "sex", "site") if name in used]],
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
    table = read_rows(config.predictions, config)
    name = score_columns(table, config.predictions, config.score_column, None, named_by)[0]
    scores = numbers(table, name, config.predictions, named_by)
    return pd.DataFrame({"image_id": table[ID], "score": scores})


def read_truth(config: EvaluateConfig) -> tuple[pd.DataFrame, str]:
    """Return `image_id`, `label`, `patient_id`, `lesion_id` of `labels`, and the policy.

    Without `labels` they are those beside the predictions. A label is 1, 0, or NaN for unknown.
    """
    path = config.labels or config.predictions
    table, policy, _ = _truth_table(read_rows(path, config), config, config.labels is not None)
    return table, policy


def _truth_table(
    truth: pd.DataFrame, config: EvaluateConfig, apart: bool
) -> tuple[pd.DataFrame, str, str]:
    """Return ids, labels, patients and lesions; the policy; the column of the labels."""
    labels, policy, label_name = _labels(truth, config, apart)
    table = pd.DataFrame({"image_id": truth[ID], "label": labels})
    for name in ("patient_id", "lesion_id"):
        column = first_known(truth, ALIASES[name])
        table[name] = truth[column] if column else None
    return table, policy, label_name


def _labels(
    truth: pd.DataFrame, config: EvaluateConfig, apart: bool
) -> tuple[npt.NDArray[np.float64], str, str]:
    """Return labels (1, 0, NaN), the policy and the column that they come from."""
    path = config.labels or config.predictions
    if config.policy not in ("auto", "target"):
        column = config.label_column or first_known(truth, ALIASES["diagnosis"])
        require(truth, column, path, ALIASES["diagnosis"], "--label-column")
        words = truth[str(column)]
        table = {word: harmonise(config.source or "", word) for word in words.dropna().unique()}
        foreign = [str(word) for word, name in table.items() if name is None]
        if foreign:
            log.warning("%d diagnoses count as unknown: %s", len(foreign), some(foreign))
        return malignant(words.map(table), config.policy), config.policy, str(column)
    known = LABEL_NAMES if apart else [name for name in LABEL_NAMES if name not in SCORE_NAMES]
    column = config.label_column or first_known(truth, known)
    if column is None and first_known(truth, ALIASES["diagnosis"]):
        raise UsageError(
            f"{path} has diagnoses and no label",
            wanted="to know which diagnoses count as malignant",
            mend="--policy cancer, --policy cancer+ak or --policy melanoma",
        )
    require(truth, column, path, known, "--label-column or a file with --labels")
    values = target_values(truth[str(column)], str(column)).to_numpy(np.float64)
    wrong = ~(np.isnan(values) | (values == 0) | (values == 1))
    if wrong.any():
        raise LesionError(
            f"{path}: column {column} holds {values[wrong][0]:g}, which is no label",
            wanted="1 malignant, 0 benign, or nothing where it is unknown",
            mend="name the column of labels with --label-column",
        )
    return values, "target", str(column)


def _known_of(
    truth: pd.DataFrame, predictions: pd.DataFrame, config: EvaluateConfig
) -> dict[str, pd.Series]:
    """Return `diagnosis`, `age`, `sex` and `site` of the rows of `truth`, as far as known.

    A disease is called by our table's name; a word that it does not have stays as it is.
    """
    found: dict[str, pd.Series] = {}
    named = config.diagnosis_column
    # What a tool writes beside its scores is its own guess, unless it is named.
    beside = predictions if named else truth
    if named and named not in predictions:
        path = config.labels or config.predictions
        require(truth, named, path, (named,), "--diagnosis-column")
    diagnosis = _column_of(truth, beside, (named,) if named else DIAGNOSIS_NAMES)
    if diagnosis is not None:
        ours = map_words(diagnosis, lambda word: _disease(word, config.source or ""))
        found["diagnosis"] = ours.astype(object).where(ours.notna(), None)
    for name, words in (("sex", harmonise_sex), ("site", harmonise_site)):
        column = _column_of(truth, predictions, ALIASES[name])
        if column is not None:
            found[name] = map_words(column, words)
    age = _column_of(truth, predictions, ALIASES["age"])
    if age is not None:
        found["age"] = pd.to_numeric(age, errors="coerce")
    return found


def _disease(word: object, source: str) -> str | None:
    own = None if plain_words(word) in UNKNOWN_WORDS else str(word)
    return harmonise(source, word) or own


def _column_of(
    truth: pd.DataFrame, predictions: pd.DataFrame, names: tuple[str, ...]
) -> pd.Series | None:
    """Return the first of `names` that either file has, for the rows of `truth`."""
    column = first_known(truth, names)
    if column is not None:
        return truth[column]
    column = first_known(predictions, names)
    return None if column is None else truth[ID].map(predictions.set_index(ID)[column])


def _group_column(truth: pd.DataFrame, predictions: pd.DataFrame, config: EvaluateConfig) -> Any:
    """Return the values of `--group-column` for the rows of `truth`, from whichever file has it."""
    if config.group_column is None:
        return None
    name = config.group_column
    if name not in truth:
        require(predictions, name, config.predictions, (name,), "--group-column")
    return _column_of(truth, predictions, (name,))


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
