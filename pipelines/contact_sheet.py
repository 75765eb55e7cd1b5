"""Contact sheets: a grid of pictures with captions, a title and a legend, as one image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipelines.contours import CASING_COLOUR, PREDICTION_COLOUR, TRUTH_COLOUR

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

_PAPER = (250, 249, 247)
_INK = (28, 27, 31)
_QUIET = (94, 92, 100)
_FLAG = {"failed": (160, 30, 36), "empty": (146, 74, 0), "edited": (0, 90, 120)}


@dataclass(frozen=True)
class Tile:
    """One picture of a sheet and what stands under it.

    Parameters
    ----------
    picture : ndarray of shape (h, w, 3), uint8 RGB
        Not larger than the sheet's tile; shown centred.
    title : str
        The image's id; shortened in the middle where it is too long.
    detail : str
        One line of figures under it.
    status : str
        Status of the mask; anything but `ok` is shown in its own colour.
    """

    picture: NDArray[np.uint8]
    title: str
    detail: str
    status: str = "ok"


def contact_sheet(
    tiles: Sequence[Tile],
    *,
    title: str,
    subtitle: str = "",
    columns: int = 6,
    size: int = 256,
    legend: tuple[bool, bool] = (True, True),
) -> Image.Image:
    """Return the sheet as a PIL image.

    Parameters
    ----------
    tiles : sequence of Tile
    title, subtitle : str
        Heading, and a quieter line under it.
    columns : int
        Tiles a row.
    size : int
        Side of a tile in pixels; the type grows with it up to 20 pixels.
    legend : (bool, bool)
        Whether truth and prediction are explained.
    """
    from PIL import Image, ImageDraw

    columns = max(1, min(columns, len(tiles) or 1))
    text = min(max(12, round(size * 0.062)), 20)
    gap = max(10, size // 16)
    caption = round(text * 2.9)
    width = columns * size + (columns + 1) * gap
    width = max(width, 34 * text)
    head = round(gap + text * 1.7 + (text * 1.5 if subtitle else 0) + text * 2.2)
    rows = math.ceil(len(tiles) / columns)
    # Archives of one aspect ratio need no bands above and below every picture.
    tall = max((tile.picture.shape[0] for tile in tiles), default=0)
    sheet = Image.new("RGB", (width, head + rows * (tall + caption + gap)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    y = _heading(draw, title, subtitle, gap, text, width)
    _legend(draw, (gap, y), text, legend)
    for number, tile in enumerate(tiles):
        left = gap + number % columns * (size + gap)
        top = head + number // columns * (tall + caption + gap)
        _place(sheet, draw, tile, (left, top), (size, tall), text)
    return sheet


def _heading(
    draw: ImageDraw.ImageDraw, title: str, subtitle: str, gap: int, text: int, width: int
) -> int:
    room = width - 2 * gap
    draw.text(
        (gap, gap),
        _shorten(title, font(round(text * 1.35), True), room),
        _INK,
        font=font(round(text * 1.35), True),
    )
    y = gap + round(text * 1.7)
    if subtitle:
        draw.text((gap, y), _shorten(subtitle, font(text), room), _QUIET, font=font(text))
        y += round(text * 1.5)
    return y + round(text * 0.35)


def _legend(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: int, shown: tuple[bool, bool]
) -> None:
    x, y = at
    middle = y + round(text * 0.65)
    length = round(text * 2.6)
    entries = [
        (shown[0], "truth (dashed)", TRUTH_COLOUR, True),
        (shown[1], "prediction (solid)", PREDICTION_COLOUR, False),
    ]
    for wanted, name, colour, dashed in entries:
        if not wanted:
            continue
        # The casing of the outlines is part of what a reader compares with the picture.
        draw.line((x - 2, middle, x + length + 2, middle), CASING_COLOUR, width=7)
        parts = 3 if dashed else 1
        for part in range(parts):
            start = x + round(part * length / parts)
            stop = x + round((part + (0.62 if dashed else 1)) * length / parts)
            draw.line((start, middle, stop, middle), colour, width=3)
        x += length + round(text * 0.7)
        draw.text((x, y), name, _INK, font=font(text))
        x += round(draw.textlength(name, font=font(text))) + round(text * 1.8)


def _place(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    tile: Tile,
    at: tuple[int, int],
    cell: tuple[int, int],
    text: int,
) -> None:
    from PIL import Image

    left, top = at
    size, tall = cell
    draw.rectangle((left, top, left + size - 1, top + tall - 1), fill=(236, 234, 230))
    height, width = tile.picture.shape[:2]
    where = (left + (size - width) // 2, top + (tall - height) // 2)
    sheet.paste(Image.fromarray(tile.picture), where)
    bold, plain = font(text, True), font(text)
    y = top + tall + round(text * 0.35)
    draw.text((left, y), _shorten(tile.title, bold, size), _INK, font=bold)
    y += round(text * 1.3)
    x = left
    if tile.status != "ok":
        colour = _FLAG.get(tile.status, _INK)
        label = tile.status.upper()
        draw.text((x, y), label, colour, font=bold)
        x += round(draw.textlength(label + "  ", font=bold))
    draw.text((x, y), _cut(tile.detail, plain, left + size - x), _QUIET, font=plain)


def _shorten(text: str, face: ImageFont.FreeTypeFont, room: float) -> str:
    """Cut the middle out of `text` until it fits; ids differ at their ends."""
    if face.getlength(text) <= room:
        return text
    keep = len(text) - 1
    while keep > 2:
        head = keep // 2
        short = f"{text[:head]}…{text[len(text) - (keep - head) :]}"
        if face.getlength(short) <= room:
            return short
        keep -= 1
    return "…"


def _cut(text: str, face: ImageFont.FreeTypeFont, room: float) -> str:
    """Leave the last figures of `text` out until it fits; the first ones matter most."""
    parts = text.split(" · ")
    while len(parts) > 1 and face.getlength(" · ".join(parts)) > room:
        parts.pop()
    return _shorten(" · ".join(parts), face, room)


@lru_cache(maxsize=16)
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, from the files that matplotlib brings, at `size` pixels."""
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts/ttf", name)), size)
