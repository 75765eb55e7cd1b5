"""The page of an audit: one HTML file, the verdict first."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from markupsafe import Markup, escape

from lesioncore.errors import LesionError
from lesioncore.images import read_image
from lesioncore.runs import now, tool_version
from pipelines.audit.check import Check
from pipelines.audit.finding import SHOWN, Finding
from pipelines.overlay import is_synthetic

if TYPE_CHECKING:
    from pipelines.audit.data import AuditData

_SIDE = 150
_GROUPS, _PICTURES = 4, 4
_JPEG_QUALITY = 80


def audit_page(
    data: AuditData, results: Sequence[tuple[Check, list[Finding]]], summary: dict[str, Any]
) -> str:
    """Return the page as HTML, self-contained.

    Parameters
    ----------
    data : AuditData
        For the pictures of copies; pictures of people are never put on the page.
    results : sequence of (Check, list of Finding)
        In the order of the page.
    summary : dict
        As in `audit.json`.
    """
    from jinja2 import Environment, PackageLoader, select_autoescape

    environment = Environment(
        loader=PackageLoader("pipelines"), autoescape=select_autoescape(["html", "j2"])
    )
    environment.filters["count"] = lambda value: f"{value:,}"
    environment.filters["coded"] = _coded
    archives = ", ".join(map(str, summary["archives"]))
    findings = [one for _, found in results for one in found]
    open_ones = {
        level: [one for one in findings if one.level == level and not one.accepted]
        for level in ("error", "warning")
    }
    return environment.get_template("audit.html.j2").render(
        title=_title(data, archives),
        meta=_meta(data, summary),
        synthetic=is_synthetic(data.manifest["source"].dropna().unique().tolist()),
        verdict=_verdict(open_ones),
        errors=open_ones["error"],
        warnings=open_ones["warning"],
        sections=[_section(data, check, found) for check, found in results],
        lists=summary["leave_out"],
        footer=f"Made by lesion-pipeline {tool_version()} on {now()[:10]}.",
    )


def _title(data: AuditData, archives: str) -> str:
    """Return the archives' names; of a table or folder of one's own, the name of its place."""
    own = data.config.dataset in ("csv", "folder") and not data.config.also
    return data.config.root.name if own and data.config.root is not None else archives


def _coded(text: str) -> Markup:
    """Return text as HTML, with what stands between backticks as code."""
    pieces = str(escape(text)).split("`")
    return Markup("".join(f"<code>{p}</code>" if n % 2 else p for n, p in enumerate(pieces)))


def _meta(data: AuditData, summary: dict[str, Any]) -> list[str]:
    labels = summary["labels"]
    text = [
        f"{summary['images']:,} images",
        f"{labels['malignant']:,} malignant, {labels['benign']:,} benign by “{data.policy}”"
        + (f", {labels['unknown']:,} unknown" if labels["unknown"] else ""),
    ]
    if data.split is not None:
        text.append(f"split {data.split.path.name}")
    return [*text, f"made {now()[:10]}", f"lesion-pipeline {tool_version()}"]


def _verdict(found: dict[str, list[Finding]]) -> str:
    errors, warnings = len(found["error"]), len(found["warning"])
    if errors:
        named = f"{errors} error{'s' if errors > 1 else ''}"
        return f"{named}: do not believe a score on these data yet."
    if warnings:
        named = f"{warnings} warning{'s' if warnings > 1 else ''}"
        return f"No error, {named}: know what follows before a score is believed."
    return "Nothing was found that these checks look for."


def _section(data: AuditData, check: Check, found: list[Finding]) -> dict[str, Any]:
    order = ("error", "warning", "note", "ok")
    return {
        "name": check.name,
        "title": check.title,
        "findings": [
            {
                "finding": one,
                "level": "accepted" if one.accepted else one.level,
                "examples": [list(group) for group in one.examples[:SHOWN]],
                "more": max(0, len(one.examples) - SHOWN),
                "pictures": _pictures(data, one) if one.pictured else [],
            }
            for one in sorted(found, key=lambda one: order.index(one.level))
        ],
    }


def _pictures(data: AuditData, finding: Finding) -> list[list[dict[str, str]]]:
    """Return small pictures of the first groups, each with its id and part."""
    rows = {str(name): row for row, name in enumerate(data.ids)}
    shown = []
    for group in finding.examples[:_GROUPS]:
        tiles = []
        for name in group[:_PICTURES]:
            row = rows[name]
            part = None if data.parts is None else data.parts.iloc[row]
            source = data.manifest["source"].iloc[row]
            try:
                jpeg = _thumbnail(read_image(data.manifest["image"].iloc[row]))
            except LesionError:
                continue
            tiles.append({"id": name, "where": str(part if isinstance(part, str) else source),
                          "jpeg": jpeg})  # fmt: skip
        shown.append(tiles)
    return shown


def _thumbnail(image: Any) -> str:
    scale = _SIDE / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    pixels = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return base64.b64encode(data.tobytes()).decode()
