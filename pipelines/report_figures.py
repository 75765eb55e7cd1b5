"""Figures of the report as inline SVG that takes its colours from the page, light or dark."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Stand-ins that matplotlib writes and the page's CSS variables replace.
INK, QUIET, RULE, ACCENT, SECOND, PAPER = (f"#0a0b0{digit}" for digit in range(1, 7))
_VARIABLES = {
    INK: "--ink", QUIET: "--quiet", RULE: "--rule",
    ACCENT: "--accent", SECOND: "--second", PAPER: "--paper",
}  # fmt: skip

# Ids that matplotlib numbers in every figure alike: a page may hold each id only once.
_USELESS_IDS = (
    r' id="(?:figure|axes|patch|line2d|text|matplotlib|xtick|ytick|legend'
    r'|LineCollection|FillBetweenPolyCollection|PolyCollection)[^"]*"'
)

Array = NDArray[np.float64]


def dice_histogram(dice: Array) -> str:
    """Return the histogram of per-image Dice.

    Parameters
    ----------
    dice : ndarray of shape (n,), float64 in [0, 1]
    """
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure("dice", 6.4, 2.7)
    axes.hist(
        dice, bins=np.linspace(0, 1, 41).tolist(), color=ACCENT, edgecolor=PAPER, linewidth=0.6
    )
    median = float(np.median(dice))
    axes.axvline(median, color=SECOND, linewidth=1.6)
    axes.annotate(
        f"median {median:.3f}", (median, 1.0), (3, 3), xycoords=("data", "axes fraction"),
        textcoords="offset points", ha="right", va="bottom", color=SECOND, fontsize=10,
    )  # fmt: skip
    axes.set(xlim=(0, 1), xlabel="Dice of an image", ylabel="images")
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    return _svg(figure, "dice", f"Histogram of Dice over {len(dice)} images, median {median:.3f}")


def roc_figure(rates: tuple[Array, Array], auc: str, pauc: str, min_tpr: float = 0.8) -> str:
    """Return the ROC curve with the scored region above `min_tpr` shaded.

    Parameters
    ----------
    rates : (ndarray, ndarray)
        False and true positive rates, each of shape (k,), rising from 0 to 1.
    auc, pauc : str
        The two areas as the page writes them.
    min_tpr : float
        Lower edge of the scored region.
    """
    fpr, tpr = rates
    figure, axes = _figure("roc", 4.5, 4.3)
    grid = np.unique(np.concatenate([fpr, np.linspace(0, 1, 400)]))
    # The upper value at each false positive rate: the curve is a staircase.
    height = np.maximum.accumulate(np.interp(grid, fpr, tpr))
    axes.fill_between(
        grid, min_tpr, np.maximum(height, min_tpr), color=ACCENT, alpha=0.22, linewidth=0
    )
    axes.axhline(min_tpr, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.plot([0, 1], [0, 1], color=RULE, linewidth=1)
    axes.plot(fpr, tpr, color=ACCENT, linewidth=2)
    axes.text(0.98, 0.06, f"AUC {auc}\npAUC {pauc}", ha="right", va="bottom", color=INK,
              fontsize=10.5, linespacing=1.5)  # fmt: skip
    axes.text(0.98, min_tpr - 0.02, f"scored above {min_tpr:.0%} sensitivity", ha="right",
              va="top", color=QUIET, fontsize=9)  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1.005), xlabel="1 − specificity (false positive rate)",
             ylabel="sensitivity (true positive rate)")  # fmt: skip
    axes.set_aspect("equal")
    return _svg(figure, "roc", f"ROC curve. AUC {auc}; partial AUC above 80% sensitivity {pauc}")


def calibration_figure(
    predicted: Array, observed: Array, low: Array, high: Array, counts: NDArray[np.int64],
    scores: Array,
) -> str:  # fmt: skip
    """Return the calibration curve with the number of images behind each point.

    Parameters
    ----------
    predicted, observed, low, high : ndarray of shape (k,), float64 in [0, 1]
        Mean prediction, fraction malignant and its interval, a bin.
    counts : ndarray of shape (k,), int64
        Images in each bin.
    scores : ndarray of shape (n,), float64 in [0, 1]
        All predictions, for the histogram beneath.
    """
    figure, (axes, below) = _figures("calibration", 4.5, 4.3, height_ratios=(3.2, 1), sharex=True)
    axes.plot([0, 1], [0, 1], color=RULE, linewidth=1)
    axes.errorbar(
        predicted, observed, yerr=[observed - low, high - observed], color=ACCENT, linewidth=1.6,
        marker="o", markersize=5, elinewidth=1, capsize=2.5,
    )  # fmt: skip
    for x, y, count in zip(predicted, observed, counts, strict=True):
        axes.annotate(f"{count}", (x, y), (5, -10), textcoords="offset points", color=QUIET,
                      fontsize=8.5)  # fmt: skip
    # Points at 0 and 1 keep their whole mark.
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.04, 1.04), ylabel="fraction malignant")
    below.hist(
        scores, bins=np.linspace(0, 1, 31).tolist(), color=ACCENT, edgecolor=PAPER, linewidth=0.5
    )
    below.set(xlabel="predicted probability of malignancy", ylabel="images")
    points = "; ".join(
        f"{x:.2f} predicted, {y:.2f} observed, n={count}"
        for x, y, count in zip(predicted, observed, counts, strict=True)
    )
    return _svg(figure, "calibration", f"Calibration curve: {points}")


def learning_figure(curves: dict[str, tuple[Array, Array]], monitor: str, name: str) -> str:
    """Return the validation score by epoch, one line a member.

    Parameters
    ----------
    curves : mapping of str to (ndarray, ndarray)
        Member to epochs (from 1) and scores.
    monitor : str
        Name of the score.
    name : str
        Name of the stage; must be unique in the page.
    """
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure(name, 4.5, 2.5)
    styles = ["-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)), (0, (1, 1))]
    for number, (member, (epochs, scores)) in enumerate(curves.items()):
        axes.plot(epochs, scores, color=ACCENT, linewidth=1.8, marker="o", markersize=3.5,
                  linestyle=styles[number % len(styles)], label=f"member {member}")  # fmt: skip
    if len(curves) > 1:
        axes.legend(frameon=False, labelcolor=QUIET, fontsize=9, loc="lower right")
    axes.set(xlabel="epoch", ylabel=f"validation {monitor}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    last = ", ".join(f"member {m} ends at {s[-1]:.3f}" for m, (_, s) in curves.items())
    return _svg(figure, name, f"Validation {monitor} by epoch: {last}")


def _figure(name: str, width: float, height: float) -> tuple[Figure, Axes]:
    figure, axes = _figures(name, width, height, rows=1)
    return figure, axes


def _figures(
    name: str, width: float, height: float, *, rows: int = 2,
    height_ratios: tuple[float, ...] | None = None, sharex: bool = False,
) -> tuple[Figure, Any]:  # fmt: skip
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.family": "sans-serif", "font.size": 10}):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
        axes = figure.subplots(rows, 1, height_ratios=height_ratios, sharex=sharex)
    for one in np.atleast_1d(axes):
        one.set_facecolor("none")
        one.spines[["top", "right"]].set_visible(False)
        one.spines[["left", "bottom"]].set_color(RULE)
        one.tick_params(colors=QUIET, which="both", labelsize=9.5, length=3)
        one.xaxis.label.set_color(INK)
        one.yaxis.label.set_color(INK)
        one.grid(axis="y", color=RULE, linewidth=0.6, alpha=0.6)
        one.set_axisbelow(True)
    return figure, axes


def _svg(figure: Figure, name: str, description: str) -> str:
    """Return the figure as an SVG element that names itself to a screen reader."""
    import html

    import matplotlib

    stream = io.StringIO()
    # Text stays text, so that it takes the page's font, can be found and is read aloud.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(_USELESS_IDS, "", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    label = html.escape(description, quote=True)
    # Without a size of its own it fills the column it stands in.
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
