"""From a template and what it shows to one HTML file that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lesioncore.metrics import Interval
from pipelines.subgroups import MINIMUM, MINIMUM_CLASS, Cell, SubgroupRow

_KEYS = ("value", "low", "high")


def page(template: str, context: Mapping[str, Any]) -> str:
    """Return a template of `pipelines/templates` filled in, as HTML."""
    from jinja2 import Environment, PackageLoader, select_autoescape

    environment = Environment(
        loader=PackageLoader("pipelines"),
        autoescape=select_autoescape(["html", "j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = number
    environment.filters["count"] = lambda value: f"{value:,}"
    environment.filters["interval"] = interval_of
    return environment.get_template(template).render(**context)


def interval_of(value: Mapping[str, Any] | None) -> Interval:
    """Return `{"value", "low", "high"}` of scores.json as an interval; null is NaN."""
    found = value or {}
    return Interval(
        *(float("nan") if found.get(key) is None else float(found[key]) for key in _KEYS)
    )


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with that many digits behind the point, a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def subgroup_context(blocks: Sequence[tuple[str, list[SubgroupRow]]]) -> dict[str, Any]:
    """Return what the template of the subgroups shows of `subgroup_table`."""
    scales = {name: _scale(blocks, name) for name in ("dice", "auc")}

    def cell(row: SubgroupRow, name: str) -> dict[str, Any]:
        one: Cell = getattr(row, name)
        low, high = scales[name]
        if one.score is None:
            return {"claim": False, "why": one.why}

        def place(value: float) -> float:
            return round(100 * min(max((value - low) / (high - low), 0), 1), 1)

        whole = getattr(blocks[0][1][0], name).score
        ends = [one.score.value if math.isnan(x) else x for x in (one.score.low, one.score.high)]
        return {
            "claim": True, "score": one.score, "at": place(one.score.value),
            "from": place(ends[0]), "to": place(ends[1]),
            "reference": place(whole.value) if whole is not None else None,
        }  # fmt: skip

    table = [
        {
            "name": name,
            "rows": [
                {"name": row.name, "n": row.n, "malignant": row.malignant,
                 "dice": cell(row, "dice"), "auc": cell(row, "auc")}
                for row in rows
            ],
        }
        for name, rows in blocks
    ]  # fmt: skip
    shown = {name: (f"{low:.1f}", f"{high:.1f}") for name, (low, high) in scales.items()}
    masks = any(row.dice.claim for _, rows in blocks for row in rows)
    return {
        "subgroups": table,
        "scales": shown,
        "subgroups_of_masks": masks,
        "minimum": MINIMUM,
        "minimum_class": MINIMUM_CLASS,
    }


def _scale(blocks: Sequence[tuple[str, list[SubgroupRow]]], name: str) -> tuple[float, float]:
    cells = [getattr(row, name).score for _, rows in blocks for row in rows]
    lows = [min(x for x in (c.low, c.value) if not math.isnan(x)) for c in cells if c is not None]
    return (math.floor(min(lows, default=0.5) * 10) / 10, 1.0)
