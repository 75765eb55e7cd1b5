"""Figures of the report: overlap of masks, calibration, learning."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.report_svg import ACCENT, PAPER, QUIET, RULE, SECOND, many_axes, one_axes, svg

Array = NDArray[np.float64]


def dice_histogram(dice: Array) -> str:
    """Return the histogram of per-image Dice.

    Parameters
    ----------
    dice : ndarray of shape (n,), float64 in [0, 1]
    """
    from matplotlib.ticker import MaxNLocator

    figure, axes = one_axes("dice", 6.4, 2.7)
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
    return svg(figure, "dice", f"Histogram of Dice over {len(dice)} images, median {median:.3f}")


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
    figure, (axes, below) = many_axes("calibration", 4.6, 4.3, height_ratios=(3.2, 1), sharex=True)
    # Where all is small the whole square would show one dot in a corner.
    most = max(float(predicted.max(initial=0)), float(high.max(initial=0)))
    top = 1.0 if most > 0.4 else 1.1 * most
    axes.plot([0, top], [0, top], color=RULE, linewidth=1)
    axes.errorbar(
        predicted, observed, yerr=[observed - low, high - observed], color=ACCENT, linewidth=1.6,
        marker="o", markersize=5, elinewidth=1, capsize=2.5,
    )  # fmt: skip
    last = np.inf
    for x, y, count in sorted(zip(predicted, observed, counts, strict=True), reverse=True):
        if last - x > 0.09 * top:  # or the numbers lie on one another
            axes.annotate(f"{count:,}", (x, y), (5, -10), textcoords="offset points", color=QUIET,
                          fontsize=8.5)  # fmt: skip
            last = x
    # Points at 0 and 1 keep their whole mark.
    axes.set(xlim=(-0.02 * top, 1.02 * top), ylim=(-0.04 * top, 1.04 * top),
             ylabel="fraction malignant")  # fmt: skip
    below.hist(
        scores, bins=np.linspace(0, top, 31).tolist(), color=ACCENT, edgecolor=PAPER, linewidth=0.5
    )
    below.set(xlabel="predicted probability of malignancy", ylabel="lesions")
    points = "; ".join(
        f"{x:.3g} predicted, {y:.3g} observed, n={count}"
        for x, y, count in zip(predicted, observed, counts, strict=True)
    )
    return svg(figure, "calibration", f"Calibration curve: {points}")


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

    figure, axes = one_axes(name, 4.5, 2.5)
    styles = ["-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)), (0, (1, 1))]
    for number, (member, (epochs, scores)) in enumerate(curves.items()):
        axes.plot(epochs, scores, color=ACCENT, linewidth=1.8, marker="o", markersize=3.5,
                  linestyle=styles[number % len(styles)], label=f"member {member}")  # fmt: skip
    if len(curves) > 1:
        axes.legend(frameon=False, labelcolor=QUIET, fontsize=9, loc="lower right")
    axes.set(xlabel="epoch", ylabel=f"validation {monitor}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    last = ", ".join(f"member {m} ends at {s[-1]:.3f}" for m, (_, s) in curves.items())
    return svg(figure, name, f"Validation {monitor} by epoch: {last}")
