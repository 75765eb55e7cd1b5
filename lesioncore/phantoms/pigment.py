"""Pigment of a lesion: network, globules, blotches, blue-grey veil, white and red areas."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from lesioncore.phantoms.lesion import Lesion, Outline
from lesioncore.phantoms.noise import Field, cell_pattern, fractal_noise, smoothstep, value_noise


class Pigment(NamedTuple):
    """Densities (size, size) float32: what a lesion adds to the skin.

    `melanin` and `blood` absorb as in `skin.MELANIN` and `skin.BLOOD`; `black` absorbs evenly;
    `veil` (blue-grey) and `white` say how much of the light is scattered back, 0 to 1.
    """

    melanin: Field
    blood: Field
    black: Field
    veil: Field
    white: Field


def lesion_pigment(lesion: Lesion, place: Outline, size: int, field_mm: float) -> Pigment:
    """Return the pigment of `lesion` where `place` (of `outline`) puts it."""
    rng = np.random.default_rng([lesion.seed, 2])
    alpha = place.alpha
    melanin, blood, black, veil, white = (np.zeros_like(alpha) for _ in range(5))
    clouds = fractal_noise(
        rng, size, max(4, round(0.8 * field_mm / lesion.diameter_mm * 4)), 5, 0.6
    )
    ground = lesion.colours[0]
    profile = _profile(lesion, place, rng) * (1.0 + 0.22 * clouds)
    np.clip(profile, 0.05, 2.0, out=profile)
    if ground == "light brown":
        melanin += (0.62 * lesion.depth) * profile
    elif ground == "dark brown":
        melanin += (0.45 + 0.85 * lesion.depth) * profile
    elif ground == "red":
        melanin += 0.12 * profile
        blood += (0.25 + 0.45 * lesion.depth) * profile
    elif ground == "black":
        melanin += 0.9 * profile
        black += (0.5 + 1.1 * lesion.depth) * profile
    else:
        melanin += 0.35 * profile
        veil += np.clip((0.45 + 0.25 * lesion.depth) * profile, 0.0, 0.8)
    for colour in lesion.colours[1:]:
        area = _area(lesion, place, rng, size)
        if colour == "light brown":
            melanin *= 1.0 - 0.5 * area
            melanin += 0.12 * area
        elif colour == "dark brown":
            melanin += (0.55 + 0.4 * lesion.depth) * area
        elif colour == "black":
            black += (0.8 + 0.8 * lesion.depth) * area
            melanin += 0.5 * area
        elif colour == "red":
            melanin *= 1.0 - 0.55 * area
            blood += 0.62 * area
        elif colour == "blue-grey":
            veil += 0.58 * area
            black += 0.3 * area
        else:
            melanin *= 1.0 - 0.72 * area
            black *= 1.0 - 0.8 * area
            blood += 0.1 * area
            white += 0.34 * area
    if ground == "red" or "red" in lesion.colours[1:]:
        blood += _vessels(lesion, rng, place, size) * 0.75
    factor, extra, pale = _pattern(lesion, place, rng, size, field_mm)
    melanin *= factor
    melanin += extra
    black *= 0.5 + 0.5 * factor
    white = np.maximum(white, pale)
    # A little redness around and under every lesion; grain that makes pigment look like tissue.
    grain = 1.0 + 0.11 * fractal_noise(rng, size, 40, octaves=2, gain=0.8)
    blood += 0.06
    melanin *= grain
    for layer in (melanin, blood, black, veil, white):
        layer *= alpha
        np.maximum(layer, 0.0, out=layer)
    np.minimum(veil, 0.78, out=veil)
    np.minimum(white, 0.75, out=white)
    return Pigment(melanin, blood, black, veil, white)


def _profile(lesion: Lesion, place: Outline, rng: np.random.Generator) -> Field:
    """Return how pigment is spread, mean about 1: central, even, at the rim or aside."""
    shape = rng.choice(4, p=[0.38, 0.3, 0.14, 0.18])
    inner = np.clip(place.inside, 0.0, 1.0)
    if shape == 0:
        result = 0.55 + 0.95 * smoothstep(0.0, 0.75, inner)
    elif shape == 1:
        result = 0.95 + 0.15 * inner
    elif shape == 2:
        result = 1.2 - 0.6 * smoothstep(0.2, 0.8, inner)
    else:
        result = np.full_like(inner, 1.0)
    # Asymmetry of colour: darker toward one side.
    turn = rng.uniform(0, 2 * math.pi)
    side = math.cos(turn) * place.x + math.sin(turn) * place.y
    tilt = (0.1 + 0.55 * lesion.asymmetry) * float(rng.uniform(0.5, 1.0))
    result *= 1.0 + tilt * np.clip(side, -1.0, 1.0)
    return result


def _area(lesion: Lesion, place: Outline, rng: np.random.Generator, size: int) -> Field:
    """Return one coloured area in [0, 1]: off-centre in lopsided lesions, central in even ones."""
    away = (0.08 + 0.62 * lesion.asymmetry) * float(rng.uniform(0.6, 1.0))
    turn = rng.uniform(0, 2 * math.pi)
    reach = float(rng.uniform(0.35, 0.65))
    dx = place.x - away * math.cos(turn)
    dy = place.y - away * math.sin(turn)
    near = 1.0 - cv2.magnitude(dx, dy) * (1.0 / reach)
    patchy = fractal_noise(rng, size, int(rng.integers(5, 11)), octaves=4, gain=0.5)
    blur = float(rng.uniform(0.5, 1.0))
    area = smoothstep(-blur, blur, near + 0.5 * patchy)
    # Thin in places, so that the ground shows through.
    return area * smoothstep(-2.8, 0.6, fractal_noise(rng, size, 9, octaves=3, gain=0.5))


def _vessels(lesion: Lesion, rng: np.random.Generator, place: Outline, size: int) -> Field:
    """Return fine branching vessels as densities of blood, 0 to 1."""
    canvas = np.zeros((2 * size, 2 * size), np.uint8)
    if rng.random() < 0.45:
        return canvas[:size, :size].astype(np.float32)
    # From the lesion's own coordinates to pixels, so that vessels turn with the lesion.
    rows, columns = np.unravel_index(int(np.argmax(place.inside)), place.inside.shape)
    spread = math.sqrt(max(float(place.mask.sum()), 1.0) / math.pi)
    across = np.array([place.x[rows, columns], place.y[rows, columns]])
    step = np.array([place.x[0, 1] - place.x[0, 0], place.y[0, 1] - place.y[0, 0]], np.float64)
    step /= max(float(np.hypot(*step)), 1e-9)
    turned = np.array([[step[0], step[1]], [-step[1], step[0]]])
    for _ in range(int(rng.integers(3, 9))):
        point = rng.normal(0, 0.45, 2)
        heading = rng.uniform(0, 2 * math.pi)
        path = [point]
        for _ in range(9):
            heading += rng.normal(0, 0.5)
            point = point + 0.11 * np.array([math.cos(heading), math.sin(heading)])
            path.append(point)
        local = (np.array(path) - across) @ turned.T * spread + (columns, rows)
        pixels = np.round((2 * local + 0.5) * 16).astype(np.int32)
        thick = max(1, round(size / 128))
        cv2.polylines(
            canvas, [pixels[:, None]], False, int(rng.integers(130, 255)), thick, cv2.LINE_AA, 4
        )
    small = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (3, 3), 0), np.float32) * np.float32(1 / 255)


def _pattern(
    lesion: Lesion, place: Outline, rng: np.random.Generator, size: int, field_mm: float
) -> tuple[Field, Field, Field]:
    """Return a factor on melanin, melanin added, and pale spots of the lesion's texture."""
    factor = np.ones_like(place.alpha)
    extra = np.zeros_like(place.alpha)
    pale = np.zeros_like(place.alpha)
    box = _box(place.alpha)
    if box is None:
        return factor, extra, pale
    if lesion.pattern == "homogeneous":
        dots = smoothstep(1.7, 2.5, value_noise(rng, size, 34)[box])
        extra[box] += 0.35 * lesion.contrast * dots
        return factor, extra, pale
    # Meshes are drawn larger than life (0.2 mm would vanish at 128 px), never under 4.5 px of 128.
    mesh_mm = {"reticular": 0.42, "globular": 0.42, "cobblestone": 0.5, "keratosis": 0.8}
    mesh = max(mesh_mm[lesion.pattern], field_mm * 4.7 / 128) * float(rng.uniform(0.9, 1.35))
    scale = lesion.diameter_mm / 2 / mesh
    wobble = 0.3 if lesion.pattern == "reticular" else 0.15
    x = place.x[box] * scale + wobble * value_noise(rng, size, 10)[box]
    y = place.y[box] * scale + wobble * value_noise(rng, size, 10)[box]
    cells = cell_pattern(rng, x, y, jitter=0.75)
    where = _where(lesion, place, rng, size)[box]
    strength = lesion.contrast * where
    if lesion.pattern == "reticular":
        # Brown lines around light, rounded holes of many sizes.
        hole = 0.34 + 0.09 * value_noise(rng, size, 9)[box] + 0.14 * (cells.draw - 0.5)
        lines = smoothstep(-0.24, 0.16, cells.nearest - hole)
        lines = np.maximum(lines, 0.85 * np.exp(-np.square(cells.edge / 0.16)))
        factor[box] = 1.0 + strength * (1.05 * lines - 0.62)
        extra[box] = 0.14 * lesion.contrast * strength * lines
    elif lesion.pattern in ("globular", "cobblestone"):
        if lesion.pattern == "globular":
            present, radius = cells.draw > 0.3, 0.16 + 0.2 * cells.draw
        else:
            present, radius = cells.draw > 0.04, 0.36 + 0.1 * cells.draw
        balls = smoothstep(0.14, -0.14, cells.nearest - radius) * present
        factor[box] = 1.0 + strength * (0.7 * balls - 0.25)
        extra[box] = 0.42 * strength * balls
    else:
        # Keratosis: milia-like cysts (pale), comedo-like openings (dark), furrows between.
        spot = smoothstep(0.26, 0.1, cells.nearest)
        openings = spot * (cells.draw > 0.8)
        cysts = smoothstep(0.22, 0.08, cells.nearest) * (cells.draw < 0.22)
        furrows = np.exp(-np.square(cells.edge / 0.12))
        factor[box] = 1.0 + lesion.contrast * (0.35 * furrows - 0.1)
        extra[box] = 0.9 * lesion.contrast * openings
        pale[box] = 0.55 * lesion.contrast * cysts
    return factor, extra, pale


def _where(lesion: Lesion, place: Outline, rng: np.random.Generator, size: int) -> Field:
    """Return where the pattern shows, in [0, 1]: in patches, often toward the rim."""
    patches = smoothstep(-0.9, 0.3, fractal_noise(rng, size, 5, octaves=2))
    if rng.random() < 0.35:
        patches = patches * smoothstep(0.85, 0.35, place.inside)
    return (1.0 - 0.75 * lesion.asymmetry) * 0.6 + (0.4 + 0.45 * lesion.asymmetry) * patches


def _box(alpha: Field) -> tuple[slice, slice] | None:
    rows = np.flatnonzero(alpha.max(axis=1) > 0.02)
    columns = np.flatnonzero(alpha.max(axis=0) > 0.02)
    if not len(rows):
        return None
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
