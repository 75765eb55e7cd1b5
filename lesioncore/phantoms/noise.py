"""Smooth random fields and cell patterns, the same picture at every resolution."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]


def value_noise(rng: np.random.Generator, size: int, cells: int) -> Field:
    """Return smooth noise of unit variance at its nodes, `cells` nodes a side.

    Parameters
    ----------
    rng : numpy Generator
    size : int
        Side of the result in pixels; the draws do not depend on it.
    cells : int
        Nodes a side: the number of bumps across the picture.

    Returns
    -------
    (size, size) float32
    """
    grid = rng.standard_normal((cells, cells), dtype=np.float32)
    return _resize(grid, size, size)


def fractal_noise(
    rng: np.random.Generator, size: int, cells: int, octaves: int = 4, gain: float = 0.5
) -> Field:
    """Return a sum of `octaves` value noises, each twice as fine and `gain` times as strong."""
    # Each octave is laid on the finer grid of the next, so only the last step is at full size.
    total = rng.standard_normal((cells, cells), dtype=np.float32)
    weight, power = 1.0, 1.0
    for octave in range(1, octaves):
        fine = cells << octave
        if fine > 96:
            break
        weight *= gain
        power += weight**2
        layer = rng.standard_normal((fine, fine), dtype=np.float32)
        total = np.asarray(cv2.scaleAdd(layer, weight, _resize(total, fine, fine)))
    return _resize(total, size, size) * np.float32(1.0 / math.sqrt(power))


def line_noise(rng: np.random.Generator, size: int, across: int, along: int, angle: float) -> Field:
    """Return noise drawn out into lines at `angle` (radians), `across` of them, `along` long."""
    side = math.ceil(size * 1.45)
    grid = rng.standard_normal((across, along), dtype=np.float32)
    wide = _resize(grid, side, side)
    c, s = math.cos(angle), math.sin(angle)
    middle, centre = (size - 1) / 2, (side - 1) / 2
    matrix = np.array(
        [
            [c, s, centre - c * middle - s * middle],
            [-s, c, centre + s * middle - c * middle],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    lines = cv2.warpAffine(
        wide, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(lines, np.float32)


class Cells(NamedTuple):
    """What `cell_pattern` knows of each pixel; distances are in cells."""

    nearest: Field  # distance to the nearest seed
    edge: Field  # 0 on the border between two cells, growing inwards
    draw: Field  # one uniform number in [0, 1) a cell


def cell_pattern(rng: np.random.Generator, x: Field, y: Field, jitter: float = 0.8) -> Cells:
    """Return a jittered honeycomb (Worley 1996) at the coordinates `x`, `y`, given in cells.

    Parameters
    ----------
    rng : numpy Generator
    x, y : (H, W) float32
        Coordinates in units of one cell, already turned or warped as wished.
    jitter : float
        0 is a regular honeycomb, 1 an irregular mesh.
    """
    x = x - (math.floor(float(x.min())) - 2)
    y = y - (math.floor(float(y.min())) - 2)
    columns, rows = int(x.max()) + 4, int(y.max()) + 4
    offset = (rng.random((2, rows, columns), dtype=np.float32) - 0.5) * jitter + 0.5
    draws = rng.random((rows, columns), dtype=np.float32)
    # Odd rows are shifted by half a cell: six neighbours each, as in a pigment network.
    offset[0, 1::2] += 0.5
    seed_x = (offset[0] + np.arange(columns, dtype=np.float32)).ravel()
    seed_y = (offset[1] + np.arange(rows, dtype=np.float32)[:, None]).ravel()
    row = y.astype(np.int32)
    # In the shifted rows the cell under a pixel is one to the left for half of it.
    base = row * columns + (x - 0.25).astype(np.int32)
    first = np.full(x.shape, 9.0, np.float32)
    second = np.full(x.shape, 9.0, np.float32)
    owner = base.copy()
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            index = base + (down * columns + right)
            dx = seed_x.take(index)
            dx -= x
            dy = seed_y.take(index)
            dy -= y
            dx *= dx
            dy *= dy
            dx += dy
            np.minimum(second, np.maximum(first, dx, out=dy), out=second)
            np.copyto(owner, index, where=dx < first)
            np.minimum(first, dx, out=first)
    np.sqrt(first, out=first)
    np.sqrt(second, out=second)
    second -= first
    return Cells(first, second, draws.ravel().take(owner))


def smoothstep(low: float, high: float, values: Field) -> Field:
    """Return 0 below `low`, 1 above `high`, and an S between."""
    t = (values - low) * (1.0 / (high - low))
    np.clip(t, 0.0, 1.0, out=t)
    return t * t * (3.0 - 2.0 * t)


def _resize(grid: Field, height: int, width: int) -> Field:
    if grid.shape[0] > height or grid.shape[1] > width:
        return np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_AREA))
    if 4 * grid.shape[0] <= height and height % 2 == 0 and width % 2 == 0:
        # Cubic to half the size, linear from there: no eye sees it, and it is three times as fast.
        half = (width // 2, height // 2)
        grid = np.asarray(cv2.resize(grid, half, interpolation=cv2.INTER_CUBIC), np.float32)
        return np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR))
    return np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC))
