"""How far one column alone orders malignant above benign: what no honest column can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from lesioncore.metrics import Interval, bootstrap, roc_auc
from pipelines.subgroups import MINIMUM, MINIMUM_CLASS

if TYPE_CHECKING:
    import pandas as pd

#: Rows that are looked at: all malignant ones, and benign ones drawn from the rest.
MOST_ROWS = 20_000
#: An AUC below this gets no interval of its own: nothing will be said of it.
WORTH_DRAWS = 0.65
#: Rows by which the mean of a category is drawn to that of all.
_PRIOR_ROWS = 10
_FOLDS = 5
Kind = Literal["number", "category", "missing"]


@dataclass(frozen=True)
class Predictor:
    """What one column says of the label.

    Attributes
    ----------
    kind : str
        "number" by its order, "category" by the share of malignant ones, out of fold, "missing" by
        whether there is a value.
    auc : Interval
        0.5 to 1 for numbers and missing values (the better of both directions), 0 to 1 for
        categories, whose direction is learned. Without bounds below `WORTH_DRAWS`.
    n, positives : int
        Rows that it was measured on.
    missing : float
        Part of the labelled rows without a value.
    rises : bool
        Whether higher (or missing) is more often malignant.
    """

    kind: Kind
    auc: Interval
    n: int
    positives: int
    missing: float
    rises: bool = True


def sample_rows(
    labels: npt.NDArray[np.float64], most: int = MOST_ROWS, seed: int = 0
) -> npt.NDArray[np.int64]:
    """Return labelled rows, `most` at most: all malignant ones and some of the benign ones."""
    positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    generator = np.random.default_rng(seed)
    if len(positive) > most // 2:
        positive = np.sort(generator.choice(positive, most // 2, replace=False))
    room = most - len(positive)
    if len(negative) > room:
        negative = np.sort(generator.choice(negative, room, replace=False))
    return np.sort(np.concatenate([positive, negative]))


def enough(labels: npt.NDArray[np.float64], groups: npt.NDArray[Any]) -> str:
    """Return "" where a claim may be made, else why not.

    Parameters
    ----------
    labels : (n,) of 0 and 1
    groups : (n,)
        Few patients with many images are few.
    """
    if len(labels) < MINIMUM:
        return f"n = {len(labels)}: too few"
    for value, word in ((1, "malignant"), (0, "benign")):
        count = len(np.unique(groups[labels == value].astype(str)))
        if count < MINIMUM_CLASS:
            return f"{count} {word} cases: too few"
    return ""


def number_predictor(
    values: npt.NDArray[np.float64], labels: npt.NDArray[np.float64], groups: npt.NDArray[Any],
    *, resamples: int = 1000, seed: int = 0,
) -> Predictor | None:  # fmt: skip
    """Return how far numbers order the labels; None where there are too few.

    Parameters
    ----------
    values : (n,)
        NaN where missing; such rows are left out.
    labels : (n,) of 0 and 1
    groups : (n,)
        What the bootstrap draws as a whole.
    """
    has = np.isfinite(values)
    return _measured(
        "number", values[has], labels[has], groups[has], 1 - has.mean(), resamples, seed
    )


def missing_predictor(
    values: pd.Series, labels: npt.NDArray[np.float64], groups: npt.NDArray[Any],
    *, resamples: int = 1000, seed: int = 0,
) -> Predictor | None:  # fmt: skip
    """Return how far it tells the label whether there is a value; None where it cannot be said."""
    absent = values.isna().to_numpy()
    if min(absent.sum(), (~absent).sum()) < MINIMUM:
        return None
    share = float(absent.mean())
    return _measured("missing", absent.astype(float), labels, groups, share, resamples, seed)


def category_predictor(
    values: pd.Series, labels: npt.NDArray[np.float64], groups: npt.NDArray[Any],
    *, resamples: int = 1000, seed: int = 0,
) -> Predictor | None:  # fmt: skip
    """Return how far the share of malignant ones of each category, out of fold, orders the labels.

    The shares of one fold come from the other four; folds keep groups together. A category that
    nothing is known of gets the share of all.
    """
    has = values.notna().to_numpy()
    words = values[has].astype(str).to_numpy(object)
    y, kept = labels[has], groups[has]
    if enough(y, kept) or len(np.unique(words.astype(str))) < 2:
        return None
    scores = out_of_fold_means(words, y, kept)
    missing = float(1 - has.mean())
    return _measured("category", scores, y, kept, missing, resamples, seed)


def out_of_fold_means(
    words: npt.NDArray[Any], labels: npt.NDArray[np.float64], groups: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """Return the mean label of each row's word in the other folds, drawn to the mean of all."""
    import pandas as pd
    from sklearn.model_selection import GroupKFold

    scores = np.empty(len(labels))
    folds = min(_FOLDS, len(np.unique(groups.astype(str))))
    for rest, fold in GroupKFold(folds).split(words, groups=groups.astype(str)):
        seen = pd.DataFrame({"word": words[rest], "y": labels[rest]}).groupby("word")["y"]
        whole = labels[rest].mean()
        means = (seen.sum() + _PRIOR_ROWS * whole) / (seen.size() + _PRIOR_ROWS)
        # Less the mean of the other folds, or it would order the folds.
        scores[fold] = pd.Series(words[fold]).map(means).fillna(whole).to_numpy() - whole
    return scores


def _measured(
    kind: Kind, scores: npt.NDArray[np.float64], labels: npt.NDArray[np.float64],
    groups: npt.NDArray[Any], missing: float, resamples: int, seed: int,
) -> Predictor | None:  # fmt: skip
    if enough(labels, groups) or len(np.unique(scores)) < 2:
        return None
    value = float(roc_auc(labels, scores))
    rises = value >= 0.5 or kind == "category"
    directed = scores if rises else -scores
    auc = Interval(value if rises else 1 - value, float("nan"), float("nan"))
    if auc.value >= WORTH_DRAWS:
        auc = bootstrap(roc_auc, labels, directed, groups=groups, n=resamples, seed=seed)
    return Predictor(kind, auc, len(labels), int(labels.sum()), float(missing), rises)


def column_predictors(
    values: pd.Series, labels: npt.NDArray[np.float64], groups: npt.NDArray[Any],
    *, resamples: int = 1000, seed: int = 0,
) -> list[Predictor]:  # fmt: skip
    """Return what a column of any kind says of the labels: its values, and their absence."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    options = {"resamples": resamples, "seed": seed}
    found: Predictor | None
    if is_numeric_dtype(values) or is_bool_dtype(values):
        found = number_predictor(
            values.to_numpy(np.float64, na_value=np.nan), labels, groups, **options
        )
    elif values.nunique() > len(values) / 2:
        found = None  # names of single images, not a category
    else:
        found = category_predictor(values, labels, groups, **options)
    both = (found, missing_predictor(values, labels, groups, **options))
    return [one for one in both if one is not None]
