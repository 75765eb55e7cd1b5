"""Matplotlib figures as inline SVG that takes its colours from the page, light or dark."""

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
INK, QUIET, RULE, ACCENT, SECOND, PAPER, THIRD, FOURTH = (f"#0a0b0{digit}" for digit in range(1, 9))
_VARIABLES = {
    INK: "--ink", QUIET: "--quiet", RULE: "--rule",
    ACCENT: "--accent", SECOND: "--second", PAPER: "--paper",
    THIRD: "--third", FOURTH: "--fourth",
}  # fmt: skip

# Ids that matplotlib numbers in every figure alike: a page may hold each id only once.
_USELESS_IDS = (
    r' id="(?:figure|axes|patch|line2d|text|matplotlib|xtick|ytick|legend'
    r'|LineCollection|FillBetweenPolyCollection|PolyCollection)[^"]*"'
)

Array = NDArray[np.float64]

#: Colour and dashes of each model, told apart without colour as well.
LINES: tuple[tuple[str, Any], ...] = (
    (ACCENT, "-"),
    (SECOND, (0, (6, 2))),
    (THIRD, (0, (1.5, 1.5))),
    (FOURTH, (0, (6, 2, 1.5, 2))),
    (QUIET, (0, (3, 1))),
    (INK, (0, (1, 3))),
)


def line_of(number: int) -> dict[str, Any]:
    """Return colour and dashes of the model of that number, from 0."""
    colour, dashes = LINES[number % len(LINES)]
    return {"color": colour, "linestyle": dashes}


def one_axes(name: str, width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure of that size in inches, in the page's colours, and its axes."""
    figure, axes = many_axes(name, width, height, rows=1)
    return figure, axes


def many_axes(
    name: str, width: float, height: float, *, rows: int = 2,
    height_ratios: tuple[float, ...] | None = None, sharex: bool = False,
) -> tuple[Figure, Any]:  # fmt: skip
    """Return an empty figure with several axes, one above the other."""
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


def svg(figure: Figure, name: str, description: str) -> str:
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
