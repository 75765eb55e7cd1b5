"""Tiles of a contact sheet on an HTML page, each picture inside the page itself."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lesioncore.errors import LesionError
from lesioncore.files import write_text
from lesioncore.runs import now, tool_version
from pipelines.contact_sheet import Tile
from pipelines.report_page import page

_JPEG_QUALITY = 82


def tile_values(tile: Tile, *, synthetic: bool) -> dict[str, Any]:
    """Return what `tiles.html.j2` shows of a tile, drawn at twice its size on the page."""
    # Twice, so that outlines stay sharp on a dense screen.
    height, width = tile.picture.shape[:2]
    what = "Synthetic lesion" if synthetic else "Lesion"
    return {
        "jpeg": _jpeg(tile.picture),
        "width": width // 2,
        "height": height // 2,
        "title": tile.title,
        "status": tile.status,
        "details": tile.detail.split(" · ", 1) if tile.detail else [],
        "alt": f"{what} {tile.title} with its mask outlined. Mask {tile.status}. {tile.detail}",
    }


def write_html_sheet(
    out: Path,
    tiles: Sequence[Tile],
    *,
    title: str,
    notes: Sequence[str],
    size: int,
    truth: bool,
    synthetic: bool,
) -> None:
    """Write a contact sheet that opens anywhere: one file, no script, nothing from elsewhere.

    Parameters
    ----------
    tiles : sequence of Tile
        Drawn at twice `size`.
    size : int
        Smallest width of a tile on the page, pixels.
    truth : bool
        Whether true masks are drawn too.
    """
    values = {
        "title": title,
        "notes": notes,
        "tiles": [tile_values(tile, synthetic=synthetic) for tile in tiles],
        "size": size,
        "truth": truth,
        "footer": f"Made by lesion-pipeline {tool_version()} on {now()[:10]}.",
    }
    write_text(out, page("sheet.html.j2", values))


def _jpeg(picture: NDArray[np.uint8]) -> str:
    done, data = cv2.imencode(
        ".jpg",
        np.ascontiguousarray(picture[:, :, ::-1]),
        [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY],
    )
    if not done:
        raise LesionError("a picture of the page could not be encoded as JPEG")
    return base64.b64encode(data.tobytes()).decode()
