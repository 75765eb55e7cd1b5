"""What the page gets to know of an image."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import urlencode

from pipelines.qa.pixels import view_shape
from pipelines.qa.round import ReviewRound


def item(review: ReviewRound, image_id: str, reviewer: str) -> dict[str, Any]:
    """Return what the page shows of an image, as plain values.

    `width` and `height` are those of the page's picture; `mask` changes its address whenever what
    stands behind it changes, so that browsers may keep it.
    """
    turn = review.turn(image_id)
    said: dict[str, Any] = {"id": image_id, "why": turn.why, "problem": "", "other": None}
    shown = review.shown(image_id, reviewer)
    if not shown.mask.size:
        said["problem"] = "the image cannot be read: flag it, or go on without"
        return said | {"facts": _facts(review, image_id), "action": shown.action}
    height, width = view_shape(shown.before.mask.shape)
    name = review.store.round
    version = f"{name}.{shown.before.version}.{shown.decision}"
    if review.other(image_id) is not None:
        said["other"] = _address("mask", image=image_id, of="other")
    return said | {
        "picture": _address("image", image=image_id, v=shown.before.image_sha256[:12] or name),
        "mask": _address("mask", image=image_id, who=reviewer, v=version),
        "width": width,
        "height": height,
        "facts": _facts(review, image_id),
        "action": shown.action,
        "note": shown.note,
        "by": shown.by,
    }


def _address(path: str, **query: str) -> str:
    return f"/{path}?{urlencode(query)}"


def _facts(review: ReviewRound, image_id: str) -> list[list[str]]:
    """Return names and values of what is known of the cache's mask."""
    row = review.baseline.facts(image_id)
    pixels = int(row["height"]) * int(row["width"])
    found = [
        ["mask", f"{row['status']}{': ' + row['reason'] if row['reason'] else ''}"],
        ["quality", _number(row["quality"])],
        ["score", _number(row["score"])],
        ["disagreement", _number(row["disagreement"])],
        ["area", f"{100 * int(row['area']) / pixels:.1f} %" if pixels else ""],
        ["image", f"{row['width']} × {row['height']} px" if pixels else ""],
        ["made by", _maker(str(row["member"]), int(row["revision"]))],
    ]
    return [[name, value] for name, value in found if value]


def _maker(member: str, revision: int) -> str:
    if revision:
        return f"a person, revision {revision}"
    named = {"mean": "all members", "truth": "the archive", "import": "an import", "": ""}
    return named.get(member, f"member {member}")


def _number(value: Any) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.3f}"
