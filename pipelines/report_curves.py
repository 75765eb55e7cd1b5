"""Figures of how scores tell malignant from benign: one line a model, the first one leading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from pipelines.report_svg import (
    ACCENT,
    INK,
    PAPER,
    QUIET,
    RULE,
    SECOND,
    Array,
    line_of,
    many_axes,
    one_axes,
    svg,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Lines = Mapping[str, tuple[Array, Array]]
_SIZE = (4.6, 4.3)
# More points than these are not seen, and make a page heavy.
_POINTS = 1500


def roc_figure(
    curves: Lines, notes: Mapping[str, str], min_tpr: float, point: tuple[float, float]
) -> str:
    """Return ROC curves with the scored region above `min_tpr` of the first shaded.

    Parameters
    ----------
    curves : mapping of model to (ndarray, ndarray)
        False and true positive rates, each of shape (k,), rising from 0 to 1.
    notes : mapping of model to str
        What the key says of it.
    min_tpr : float
        Lower edge of the scored region.
    point : (float, float)
        Rates of the first model's operating point.
    """
    figure, axes = one_axes("roc", *_SIZE)
    fpr, tpr = next(iter(curves.values()))
    grid = np.unique(np.concatenate([fpr, np.linspace(0, 1, 400)]))
    # The upper value at each false positive rate: the curve is a staircase.
    height = np.maximum.accumulate(np.interp(grid, fpr, tpr))
    axes.fill_between(
        grid, min_tpr, np.maximum(height, min_tpr), color=ACCENT, alpha=0.2, linewidth=0
    )
    axes.axhline(min_tpr, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.plot([0, 1], [0, 1], color=RULE, linewidth=1)
    _draw(axes, curves, notes)
    axes.plot(*point, marker="o", markersize=7, color=PAPER, markeredgecolor=ACCENT,
              markeredgewidth=2)  # fmt: skip
    axes.text(0.985, min_tpr + 0.01, f"counts above {min_tpr:.0%} sensitivity", ha="right",
              va="bottom", color=QUIET, fontsize=9)  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="share of benign called (1 − specificity)",
             ylabel="share of malignant called (sensitivity)")  # fmt: skip
    axes.set_aspect("equal")
    _key(axes, "lower right")
    said = "; ".join(f"{name}: {note}" for name, note in notes.items())
    return svg(figure, "roc", f"ROC curve. {said}")


def precision_figure(curves: Lines, notes: Mapping[str, str], prevalence: float) -> str:
    """Return precision over recall, with the share of malignant rows as the floor.

    Parameters
    ----------
    curves : mapping of model to (ndarray, ndarray)
        Recall (rising) and precision, each of shape (k,).
    notes : mapping of model to str
    prevalence : float
    """
    figure, axes = one_axes("precision", *_SIZE)
    _draw(axes, curves, notes)
    axes.axhline(prevalence, color=QUIET, linewidth=0.9, linestyle=(0, (4, 3)),
                 label=f"all lesions, {prevalence:.2g}")  # fmt: skip
    # The first few calls jump up and down; where malignancy is rare they would set the scale.
    settled = [precision[recall >= 0.1] for recall, precision in curves.values()]
    top = max([float(one.max()) for one in settled if len(one)] + [4 * prevalence])
    axes.set(xlim=(0, 1), ylim=(0, min(1.02, 1.15 * top)),
             xlabel="share of malignant called (recall)",
             ylabel="share of the called that is malignant")  # fmt: skip
    _key(axes, "lower left" if top > 0.9 else "upper right")
    said = "; ".join(f"{name}: {note}" for name, note in notes.items())
    return svg(figure, "precision", f"Precision over recall. {said}")


def needed_figure(curves: Lines, marks: Mapping[float, float]) -> str:
    """Return the lesions called for each malignant one found, over sensitivity.

    Parameters
    ----------
    curves : mapping of model to (ndarray, ndarray)
        Sensitivity (rising) and number needed to biopsy, each of shape (k,).
    marks : mapping of float to float
        The first model's numbers at stated sensitivities.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    figure, axes = one_axes("needed", *_SIZE)
    _draw(axes, curves, {name: name for name in curves})
    for sensitivity, number in marks.items():
        axes.plot(sensitivity, number, marker="o", markersize=6, color=ACCENT)
        axes.annotate(f"{number:.3g}", (sensitivity, number), (-6, 5), ha="right",
                      textcoords="offset points", color=INK, fontsize=9.5)  # fmt: skip
    axes.set_yscale("log")
    most = max(float(numbers.max()) for _, numbers in curves.values())
    axes.set_ylim(0.93, 1.15 * max(most, 2))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if most < 5000 else (1,)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.set(xlim=(0, 1.01), xlabel="share of malignant called (sensitivity)",
             ylabel="lesions called for each malignant one found")  # fmt: skip
    if len(curves) > 1:
        _key(axes, "lower right")
    said = ", ".join(f"{number:.3g} at {at:.0%} sensitivity" for at, number in marks.items())
    return svg(figure, "needed", f"Number needed to biopsy: {said}")


def decision_figure(
    thresholds: Array,
    benefits: Mapping[str, Array],
    band: tuple[Array, Array],
    treat_all: Array,
    prevalence: float,
) -> str:
    """Return net benefit over the threshold, beside calling all lesions or none.

    Parameters
    ----------
    thresholds : ndarray of shape (T,)
    benefits : mapping of model to ndarray of shape (T,)
        Net benefit, at most `prevalence`.
    band : (ndarray, ndarray)
        Ends of the first model's interval, each (T,).
    treat_all : ndarray of shape (T,)
    prevalence : float
    """
    figure, axes = one_axes("decision", *_SIZE)
    # Beyond a few times the prevalence there is nothing left to decide.
    shown = thresholds <= min(0.5, max(0.003, 6 * prevalence))
    at, scale = 100 * thresholds[shown], 1000
    axes.fill_between(at, scale * band[0][shown], scale * band[1][shown], color=ACCENT, alpha=0.16,
                      linewidth=0)  # fmt: skip
    axes.axhline(0, color=INK, linewidth=1)
    axes.plot(at, scale * treat_all[shown], color=QUIET, linewidth=1.4, linestyle=(0, (4, 3)),
              label="call all")  # fmt: skip
    for number, (name, benefit) in enumerate(benefits.items()):
        axes.plot(at, scale * benefit[shown], linewidth=2, label=name, **line_of(number))
    top = scale * prevalence
    axes.set(xlim=(0, float(at[-1])), ylim=(-0.25 * top, 1.12 * top),
             xlabel="threshold: call from this probability up, in %",
             ylabel="net malignant found in 1,000 lesions")  # fmt: skip
    axes.annotate("call none", (at[-1], 0), (0, -4), textcoords="offset points", ha="right",
                  va="top", color=INK, fontsize=9)  # fmt: skip
    _key(axes, "upper right")
    first = next(iter(benefits.values()))
    best = shown & (first > np.maximum(treat_all, 0))
    said = (
        f"better than calling all or none from {thresholds[best][0]:.1%} to "
        f"{thresholds[best][-1]:.1%}"
        if best.any()
        else "never better than calling all or none"
    )
    return svg(figure, "decision", f"Decision curve, {said}")


def scores_figure(scores: Array, labels: Array, threshold: float, probabilities: bool) -> str:
    """Return where malignant and benign rows lie, each as a share of their own number.

    Parameters
    ----------
    scores, labels : ndarray of shape (n,)
    threshold : float
        Drawn as a line.
    probabilities : bool
        Scores are in [0, 1] and drawn by their odds, so that small ones are seen.
    """
    figure, (above, below) = many_axes("scores", *_SIZE, sharex=True)
    values, line = (log_odds(scores), log_odds(threshold)) if probabilities else (scores, threshold)
    low, high = float(values.min()), float(values.max())
    edges = np.linspace(low, high if high > low else low + 1, 41)
    for axes, positive, colour, name in (
        (above, True, SECOND, "malignant"),
        (below, False, ACCENT, "benign"),
    ):
        own = values[labels == positive]
        axes.hist(own, bins=edges.tolist(), weights=np.full(len(own), 100 / len(own)), color=colour,
                  edgecolor=PAPER, linewidth=0.5)  # fmt: skip
        axes.axvline(float(line), color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
        axes.set(ylabel=f"% of {name}")
        axes.set_title(f"{len(own):,} {name}", loc="left", color=colour, fontsize=10)
    below.set(xlabel="probability of malignancy, spaced by odds" if probabilities else "score")
    if probabilities:
        _odds_ticks(below, low, high)
    return svg(
        figure, "scores",
        f"Histograms of the scores of malignant and benign rows; threshold {threshold:.4g}",
    )  # fmt: skip


def log_odds(chances: Array | float) -> Array:
    """Return the natural logarithm of the odds, for probabilities from 0.00001 to 0.99999."""
    inside = np.clip(chances, 1e-5, 1 - 1e-5)
    return np.asarray(np.log(inside / (1 - inside)))


def odds_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return places and words of round probabilities between two log odds, at most seven."""
    round_ones = (1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
    finer = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
    ticks: list[tuple[float, str]] = []
    for candidates in (round_ones, finer):
        places = [(float(log_odds(one)), f"{100 * one:g}%") for one in candidates]
        ticks = [tick for tick in places if low - 1e-9 <= tick[0] <= high + 1e-9]
        if len(ticks) >= 4:
            break
    return ticks[:: 1 + len(ticks) // 8]


def _odds_ticks(axes: Axes, low: float, high: float) -> None:
    ticks = odds_ticks(low, high)
    axes.set_xticks([place for place, _ in ticks], [word for _, word in ticks])


def _draw(axes: Axes, curves: Lines, notes: Mapping[str, str]) -> None:
    for number, (name, (x, y)) in enumerate(curves.items()):
        step = max(1, len(x) // _POINTS)
        kept = np.unique(np.r_[np.arange(0, len(x), step), len(x) - 1])
        axes.plot(x[kept], y[kept], linewidth=2 if number == 0 else 1.6, label=notes[name],
                  zorder=3 - number / 100, **line_of(number))  # fmt: skip


def _key(axes: Axes, place: Literal["lower left", "lower right", "upper right"]) -> None:
    axes.legend(frameon=False, labelcolor=INK, fontsize=9.5, loc=place, handlelength=2.6)
