"""`shap.png`: what moves the probabilities of a stack, lesion by lesion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesioncore.files import atomic_path
from pipelines.stack.explanation import Explained

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 20
_BINS = 60


def write_shap_plot(path: Path, members: Sequence[Explained], importance: pd.DataFrame) -> None:
    """Draw the features that move most, one row each, a dot a lesion, as a PNG.

    Parameters
    ----------
    path : Path
    members : sequence of Explained
    importance : DataFrame
        From `importance_table`.
    """
    import matplotlib
    import pandas as pd
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    moved = pd.concat([one.contributions for one in members], ignore_index=True)
    values = pd.concat([one.values for one in members], ignore_index=True)
    names = importance["feature"].head(_SHOWN).tolist()
    colours = matplotlib.colormaps["coolwarm"]
    figure = Figure(figsize=(9.0, 1.6 + 0.34 * len(names)), layout="constrained")
    axes = figure.subplots()
    for row, name in enumerate(names):
        x = moved[name].to_numpy(np.float64)
        known = ~np.isnan(x)
        rank = values[name].rank(pct=True).to_numpy(np.float64)
        shade = np.where(np.isnan(rank)[:, None], (0.75, 0.75, 0.75, 1.0), colours(rank))
        axes.scatter(
            x[known], -row + _spread(x[known]), s=7, c=shade[known], linewidths=0, alpha=0.85,
            rasterized=True,
        )  # fmt: skip
    axes.axvline(0, color="0.6", linewidth=0.8, zorder=0)
    axes.set_yticks(-np.arange(len(names)), names, fontsize=9)
    axes.set_ylim(-len(names) + 0.4, 0.6)
    axes.set_xscale("symlog", linthresh=0.5)
    ticks = (-8, -4, -2, -1, -0.5, 0, 0.5, 1, 2, 4, 8)
    low, high = axes.get_xlim()
    axes.set_xticks([t for t in ticks if low <= t <= high])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+g}" if value else "0")
    axes.xaxis.minorticks_off()
    axes.set_xlabel("← benign     added to the log-odds of malignancy     malignant →")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(
        "What moves the probability of lesions that were not learned from", fontsize=11, loc="left"
    )
    bar = figure.colorbar(ScalarMappable(cmap=colours), ax=axes, aspect=40, pad=0.02)
    bar.set_ticks([0.0, 1.0], labels=["low", "high"])
    bar.set_label("the feature's value (grey: not known)")
    bar.outline.set_visible(False)  # type: ignore[operator]
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, facecolor="white")


def _spread(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far each dot is moved up or down, so that many alike make a thick line."""
    if not len(x):
        return x
    edges = np.linspace(x.min(), x.max() + 1e-12, _BINS)
    place = np.digitize(x, edges)
    found = np.zeros(len(x))
    most = np.bincount(place).max()
    for one in np.unique(place):
        rows = np.flatnonzero(place == one)
        half = 0.38 * len(rows) / most
        found[rows] = np.linspace(-half, half, len(rows)) if len(rows) > 1 else 0.0
    return found
