"""The fit of the quality model: from the traits of masks to the Dice that they had.

A fractional logistic regression (Papke & Wooldridge, J. Appl. Econometrics 11, 1996), so that the
mean quality is the mean Dice, with signs where sense gives them and a small ridge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesioncore.progress import log
from segstage.quality import TRAITS, QualityModel

if TYPE_CHECKING:
    import pandas as pd

#: Fewer masks with a truth than this give no model.
MIN_IMAGES = 30
_PENALTY = 1e-3
_FOLDS = 5
_DRAWS = 500

Traits = Mapping[str, float]


def quality_of_run(folder: Path, scores: pd.DataFrame) -> dict[str, Any] | None:
    """Fit the quality model of a run, save it there, and return how well it does.

    Parameters
    ----------
    folder : Path
    scores : DataFrame
        From `segstage.scoring.score_images` with traits: masks by members that did not learn from
        the image.

    Returns
    -------
    dict or None
        See `cross_validated`; None where there are too few masks for a model, which is said.
    """
    names = [name for name in map(str, scores.columns) if name.startswith("trait_")]
    values = scores[names].to_numpy(float)
    traits = [
        {n.removeprefix("trait_"): v for n, v in zip(names, row, strict=True) if v == v}
        for row in values.tolist()
    ]
    model = fit_quality(traits, scores["dice"].tolist(), scores["group"].tolist())
    if model is None:
        log.info(
            "fewer than %d validation masks: no quality model, the quality of masks stays null",
            MIN_IMAGES,
        )
        return None
    model.save(folder)
    return model.scores


def fit_quality(
    traits: Sequence[Traits], dice: Sequence[float], groups: Sequence[Any]
) -> QualityModel | None:
    """Return the model of masks that their segmenter did not learn from, None for too few.

    Parameters
    ----------
    traits : n mappings
        From `mask_traits`; empty masks are left out, their quality is 0 by rule.
    dice : (n,) float
        Overlap with the truth, 0 to 1; NaN rows are left out.
    groups : n values
        Patient or lesion: kept together in cross-validation and intervals.
    """
    good = [n for n, one in enumerate(traits) if one.get("area", 0) > 0 and not np.isnan(dice[n])]
    if len(good) < MIN_IMAGES:
        return None
    rows = [traits[n] for n in good]
    truth = np.array([dice[n] for n in good], np.float64)
    return _fit(rows, truth, cross_validated(rows, truth, [groups[n] for n in good]))


def cross_validated(
    rows: Sequence[Traits], truth: NDArray[np.float64], groups: Sequence[Any]
) -> dict[str, Any]:
    """Return how well quality tells Dice, predicted for each group by a model without it.

    Returns
    -------
    dict
        `n`; `spearman` of quality with Dice and `spearman_of_score` of the confidence alone, each
        with `value`, `low`, `high` (95 %, drawn by group; null where nothing varies); `mean_error`,
        the mean absolute difference of quality and Dice.
    """
    names = sorted({str(group) for group in groups})
    order = np.random.default_rng(0).permutation(len(names))
    fold_of = {name: int(order[n]) % _FOLDS for n, name in enumerate(names)}
    folds = np.array([fold_of[str(group)] for group in groups])
    found = np.full(len(rows), np.nan)
    for fold in range(_FOLDS):
        others = [row for row, f in zip(rows, folds, strict=True) if f != fold]
        if not others or not (folds == fold).any():
            continue
        model = _fit(others, truth[folds != fold], {})
        found[folds == fold] = [
            model.predict(row) for row, f in zip(rows, folds, strict=True) if f == fold
        ]
    known = ~np.isnan(found)
    if not known.any():  # one group: nothing to hold back
        return {"n": 0}
    score = np.array([row["confidence"] for row in rows])[known]
    whose = np.array([str(group) for group in groups])[known]
    return {
        "n": int(known.sum()),
        "spearman": rank_correlation(found[known], truth[known], whose),
        "spearman_of_score": rank_correlation(score, truth[known], whose),
        "mean_error": round(float(np.abs(found[known] - truth[known]).mean()), 6),
    }


def rank_correlation(
    a: NDArray[np.float64], b: NDArray[np.float64], groups: NDArray[Any]
) -> dict[str, float | None]:
    """Return Spearman's correlation as `value`, `low` and `high`: 95 %, drawn by group."""
    members = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(_DRAWS):
        rows = np.concatenate([members[n] for n in rng.integers(0, len(members), len(members))])
        value = _spearman(a[rows], b[rows])
        if value is not None:
            drawn.append(value)
    low, high = np.percentile(drawn, [2.5, 97.5]).round(6).tolist() if drawn else (None, None)
    return {"value": _spearman(a, b), "low": low, "high": high}


def _spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """Return the rank correlation, None where one of both does not vary."""
    from scipy.stats import rankdata

    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return round(float(np.corrcoef(rankdata(a), rankdata(b))[0, 1]), 6)


def _fit(
    rows: Sequence[Traits], truth: NDArray[np.float64], scores: dict[str, Any]
) -> QualityModel:
    from scipy.optimize import minimize

    # A trait that not every mask has (disagreement, of one member and one view) is not learnt.
    names = [name for name in TRAITS if all(name in row for row in rows)]
    x = np.array([[TRAITS[n].scale(float(row[n])) for n in names] for row in rows], np.float64)
    centre, spread = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
    z = (x - centre) / spread

    def loss(b: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        line = z @ b[1:] + b[0]
        miss = (1 / (1 + np.exp(-line)) - truth) / len(truth)
        value = float(np.mean(np.logaddexp(0, line) - truth * line) + _PENALTY * (b[1:] ** 2).sum())
        return value, np.concatenate([[miss.sum()], z.T @ miss + 2 * _PENALTY * b[1:]])

    signs = [TRAITS[name].sign for name in names]
    bounds = [(-10.0, 10.0)] + [(0.0, 10.0) if sign > 0 else (-10.0, 0.0) for sign in signs]
    found = minimize(loss, np.zeros(len(names) + 1), jac=True, bounds=bounds, method="L-BFGS-B").x

    def by_name(values: NDArray[np.float64]) -> dict[str, float]:
        # Rounded, so that the last bit of a BLAS is not a different model.
        return {name: round(float(v), 6) for name, v in zip(names, values, strict=True)}

    return QualityModel(
        intercept=round(float(found[0]), 6),
        weights=by_name(found[1:]),
        centre=by_name(centre),
        spread=by_name(spread),
        low=by_name(x.min(axis=0)),
        high=by_name(x.max(axis=0)),
        images=len(rows),
        scores=scores,
    )
