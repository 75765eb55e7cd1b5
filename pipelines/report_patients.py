"""The ugly duckling: each patient's lesions on one line, and whether the malignant stand out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lesioncore.metrics import top_k_sensitivity
from pipelines.report_curves import log_odds, odds_ticks
from pipelines.report_svg import Array

#: Fewer lesions than these have no spread to stand out from.
LESIONS = 10
_SHOWN = 16
_TOPS = (1, 3, 5, 15)
# Width of the drawing in its own units, with room for the marks at both ends.
_WIDTH, _MARGIN = 600.0, 8.0


@dataclass(frozen=True)
class Scale:
    """From values to places on the line."""

    low: float
    span: float

    def place(self, values: Any) -> Any:
        """Return places (n,), 0 to `_WIDTH`, of values (n,), those outside at the ends."""
        inside = np.clip((np.asarray(values) - self.low) / self.span, 0, 1)
        return np.round(_MARGIN + (_WIDTH - 2 * _MARGIN) * inside, 1)


@dataclass(frozen=True)
class Strip:
    """One patient's line: places from 0 to `_WIDTH`, ready to be drawn.

    Attributes
    ----------
    name : str
    lesions : int
    dots : str
        SVG path of a dot a benign lesion.
    malignant : list of (float, str)
        Place and description of each malignant lesion.
    band, middle : (float, float), float
        Where the patient's own lesions lie: median, and 2 robust standard deviations around it.
    ranks : str
        Places of the malignant lesions in the patient's own order, 1 the highest.
    """

    name: str
    lesions: int
    dots: str
    malignant: list[tuple[float, str]]
    band: tuple[float, float]
    middle: float
    ranks: str


def patients_section(
    scores: Array, labels: Array, patients: Any, ids: Any, probabilities: bool
) -> dict[str, Any] | None:
    """Return the strips of some patients and how often the malignant lesion stands out.

    Parameters
    ----------
    scores, labels : (n,) float64
    patients, ids : (n,)
        Patient and image of each row.
    probabilities : bool
        Scores are in [0, 1]: drawn, and their spread taken, by log odds.

    Returns
    -------
    dict or None
        None where no patient has `LESIONS` lesions.
    """
    _, codes, sizes = np.unique(
        np.asarray(patients).astype(str), return_inverse=True, return_counts=True
    )
    enough = sizes[codes] >= LESIONS
    if not enough.any():
        return None
    values = log_odds(scores) if probabilities else scores
    low, high = float(values[enough].min()), float(values[enough].max())
    scale = Scale(low, (high - low) or 1.0)
    chosen = _chosen(codes, sizes, labels, values)
    positives = int(labels[enough].sum())
    found = [
        {"k": k, "share": top_k_sensitivity(labels[enough], scores[enough], codes[enough], k)}
        for k in _TOPS
    ]
    ticks = odds_ticks(low, high) if probabilities else _plain_ticks(low, high)
    return {
        "strips": [
            _strip(np.flatnonzero(codes == code), scale, values, labels, patients, ids, scores)
            for code in chosen
        ],
        "ticks": [(float(scale.place(at)), word) for at, word in ticks],
        "width": _WIDTH,
        "patients": int((sizes >= LESIONS).sum()),
        "ill": len(np.unique(codes[enough & (labels == 1)])),
        "positives": positives,
        "minimum": LESIONS,
        "found": found if positives else [],
    }


def _chosen(codes: Any, sizes: Any, labels: Array, values: Array) -> list[int]:
    """Return patients with malignant lesions, those with most lesions first, then those without
    whose highest lesion stands out most: the false alarms."""
    able = np.flatnonzero(sizes >= LESIONS)
    positives = np.bincount(codes, labels, minlength=len(sizes))
    ill = [int(code) for code in able if positives[code] > 0]
    well = [int(code) for code in able if positives[code] == 0]
    ill.sort(key=lambda code: -int(sizes[code]))
    heights = {code: _height(values[codes == code]) for code in well}
    well.sort(key=lambda code: -heights[code])
    few = min(len(well), max(_SHOWN // 4, _SHOWN - len(ill)))
    return ill[: _SHOWN - few] + well[:few]


def _height(own: Array) -> float:
    """Return how many robust standard deviations the highest lesion lies above the median."""
    middle, spread = _spread(own)
    return float((own.max() - middle) / spread) if spread > 0 else 0.0


def _spread(own: Array) -> tuple[float, float]:
    middle = float(np.median(own))
    return middle, 1.4826 * float(np.median(np.abs(own - middle)))


def _strip(
    rows: Any, scale: Scale, values: Array, labels: Array, patients: Any, ids: Any, scores: Array
) -> Strip:
    ill = rows[labels[rows] == 1]
    middle, spread = _spread(values[rows])
    order = np.sort(-scores[rows])
    ranks = [int(rank) + 1 for rank in np.searchsorted(order, -scores[ill])]
    ends = scale.place([middle - 2 * spread, middle + 2 * spread])
    return Strip(
        name=str(np.asarray(patients)[rows[0]]),
        lesions=len(rows),
        dots=_dots(scale.place(values[rows[labels[rows] == 0]])),
        malignant=[
            (
                float(scale.place(values[row])),
                f"{np.asarray(ids)[row]}, score {scores[row]:.3g}, place {rank} of {len(rows)}",
            )
            for row, rank in zip(ill, ranks, strict=True)
        ],
        band=(float(ends[0]), float(ends[1])),
        middle=float(scale.place(middle)),
        ranks=", ".join(str(rank) for rank in sorted(ranks)),
    )


def _dots(places: Array) -> str:
    """Return a path of dots; those that fall on one another are stacked a little apart."""
    rounded, counts = np.unique(np.round(places), return_counts=True)
    heights = (0, -3.5, 3.5, -7, 7)
    return "".join(
        f"M{place:g} {10 + heights[level]}h0"
        for place, count in zip(rounded, counts, strict=True)
        for level in range(min(int(count), len(heights)))
    )


def _plain_ticks(low: float, high: float) -> list[tuple[float, str]]:
    from matplotlib.ticker import MaxNLocator

    found = MaxNLocator(6).tick_values(low, high)
    return [(float(at), f"{at:g}") for at in found if low <= at <= high]
