"""What a lesion is like (shape, colours, pattern) and the exact outline that follows from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from lesioncore.phantoms.noise import Field, fractal_noise, smoothstep, value_noise

Pattern = Literal["reticular", "globular", "homogeneous", "cobblestone", "keratosis"]
PATTERNS: tuple[Pattern, ...] = (
    "reticular",
    "globular",
    "homogeneous",
    "cobblestone",
    "keratosis",
)
COLOURS = ("light brown", "dark brown", "black", "red", "blue-grey", "white")


@dataclass(frozen=True)
class Lesion:
    """Appearance of one lesion. Nothing here depends on the picture taken of it.

    Attributes
    ----------
    asymmetry, border : float
        0 round, even and smooth; 1 lopsided in shape and colour, ragged.
    colours : tuple of str
        From `COLOURS`; the first is the ground of the lesion.
    diameter_mm : float
        Long axis.
    elongation : float
        Short axis over long axis.
    edge : float
        Width of the border zone, as a fraction of the radius: 0.03 sharp, 0.35 blurred.
    pattern : str
        Texture within, from `PATTERNS`.
    depth : float
        Amount of pigment: 0.4 faint, 1.4 dark.
    contrast : float
        Strength of the pattern, 0 to 1.
    seed : int
        Seeds the shape and the places of all details.
    """

    asymmetry: float
    border: float
    colours: tuple[str, ...]
    diameter_mm: float
    elongation: float
    edge: float
    pattern: Pattern
    depth: float
    contrast: float
    seed: int


class Outline(NamedTuple):
    """The lesion's place in a picture, all (size, size).

    `x`, `y` are the lesion's own coordinates in units of its radius; `inside` is about 1 in the
    middle, 0 on the border and negative outside; `alpha` is how much of the lesion is there
    (exactly 1/2 on the border); `mask` is ``alpha >= 1/2``, one piece without holes.
    """

    x: Field
    y: Field
    inside: Field
    alpha: Field
    mask: npt.NDArray[np.bool_]


def draw_lesion(
    rng: np.random.Generator, *, style: float = 0.5, pattern: Pattern | None = None
) -> Lesion:
    """Draw a lesion.

    Parameters
    ----------
    rng : numpy Generator
    style : float
        The patient's tendency to dark moles, 0 to 1: moles of one person look alike.
    pattern : str, optional
        The patient's usual pattern.
    """
    asymmetry = float(rng.beta(1.5, 2.2))
    # The three image traits go together in part, as in life.
    border = float(np.clip(0.35 * asymmetry + 0.65 * rng.beta(1.5, 2.0), 0.0, 1.0))
    count = 1 + int(rng.binomial(4, 0.16 + 0.34 * (0.5 * asymmetry + 0.5 * rng.random())))
    ground = str(
        rng.choice(
            ["light brown", "dark brown", "red", "blue-grey", "black"],
            p=[0.48, 0.30, 0.13, 0.04, 0.05],
        )
    )
    weights = np.array([0.8, 1.6, 1.2, 0.9, 0.75, 0.75])
    weights[COLOURS.index(ground)] = 0.0
    more = rng.choice(len(COLOURS), size=count - 1, replace=False, p=weights / weights.sum())
    return Lesion(
        asymmetry=asymmetry,
        border=border,
        colours=(ground, *(COLOURS[int(index)] for index in more)),
        diameter_mm=float(np.clip(math.exp(rng.normal(math.log(5.8), 0.42)), 2.0, 22.0)),
        elongation=float(np.clip(rng.normal(0.8, 0.1), 0.5, 0.98)),
        edge=float(np.clip(math.exp(rng.normal(math.log(0.15), 0.6)), 0.03, 0.45)),
        pattern=pattern if pattern and rng.random() < 0.45 else _draw_pattern(rng, ground),
        depth=float(np.clip(rng.normal(0.45 + 0.55 * style, 0.2), 0.28, 1.4)),
        contrast=float(rng.beta(2.2, 1.6)),
        seed=int(rng.integers(2**31)),
    )


def outline(
    lesion: Lesion, size: int, field_mm: float, centre: tuple[float, float], angle: float
) -> Outline:
    """Return where the lesion lies in a picture.

    Parameters
    ----------
    lesion : Lesion
    size : int
        Side of the picture in pixels.
    field_mm : float
        Width of the picture in millimetres.
    centre : (x, y)
        Place of the lesion's middle as fractions of the picture's width.
    angle : float
        Rotation in radians.
    """
    rng = np.random.default_rng([lesion.seed, 1])
    radius = lesion.diameter_mm / 2 / field_mm  # in widths of the picture
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    dx = ((line - centre[0]) / radius)[None, :]
    dy = ((line - centre[1]) / radius)[:, None]
    c, s = math.cos(angle), math.sin(angle)
    x = np.ascontiguousarray(c * dx + s * dy, np.float32)
    y = np.ascontiguousarray(c * dy - s * dx, np.float32)
    # Warping the coordinates bends the whole outline, which sums of sines alone never do.
    bend = 0.05 + 0.16 * lesion.asymmetry + 0.05 * lesion.border
    bumps = max(3, round(0.9 / radius))
    bent_x = x + bend * value_noise(rng, size, bumps)
    bent_y = y + bend * value_noise(rng, size, bumps)
    polar = cv2.cartToPolar(bent_x, bent_y)
    distance, turn = np.asarray(polar[0], np.float32), np.asarray(polar[1], np.float32)
    table = _radial_table(lesion, rng)
    index = (turn * (len(table) / (2 * math.pi))).astype(np.int32)
    np.clip(index, 0, len(table) - 1, out=index)
    inside = 1.0 - distance / table.take(index)
    # Ragged borders: noise that fades out toward the middle, so that it never makes holes.
    cells = int(np.clip(1.8 / radius, 6, 40))
    ragged = fractal_noise(rng, size, cells, octaves=4, gain=0.75)
    strength = 0.025 + 0.13 * lesion.border**1.3
    if rng.random() < 0.15 + 0.35 * lesion.border:
        ragged = ragged + _streaks(rng, turn, distance) * float(rng.uniform(0.4, 1.1))
    inside += ragged * (strength * smoothstep(0.75, 0.1, inside))
    soft = lesion.edge * (1.0 + 0.45 * np.clip(value_noise(rng, size, bumps + 1), -1.6, 1.6))
    np.maximum(soft, 0.025, out=soft)
    alpha: Field = np.clip(0.5 + inside / (2 * soft), 0.0, 1.0, dtype=np.float32)
    alpha = alpha * alpha * (3.0 - 2.0 * alpha)
    mask, alpha = _one_piece(alpha)
    return Outline(x, y, inside, alpha, mask)


def _draw_pattern(rng: np.random.Generator, ground: str) -> Pattern:
    if ground == "red":
        odds = [0.12, 0.16, 0.5, 0.1, 0.12]
    elif ground in ("blue-grey", "black"):
        odds = [0.15, 0.15, 0.5, 0.1, 0.1]
    else:
        odds = [0.42, 0.2, 0.15, 0.11, 0.12]
    return PATTERNS[int(rng.choice(len(PATTERNS), p=odds))]


def _radial_table(lesion: Lesion, rng: np.random.Generator, steps: int = 512) -> Field:
    """Return the radius over the angle (0 to 2 pi), the long axis scaled to 2."""
    theta = np.arange(steps) * (2 * math.pi / steps)
    flat = 1.0 / np.hypot(np.cos(theta), np.sin(theta) / lesion.elongation)
    # Slow waves: odd ones make a lesion lopsided, even ones keep the halves alike. Fast ones fray.
    waves = np.concatenate([np.arange(1, 8), np.arange(8, 28, 2)])
    lopsided = np.where(waves % 2, 0.15, 0.09) * lesion.asymmetry + 0.05 * lesion.border
    frayed = 0.035 * lesion.border**1.5
    sizes = np.where(waves < 8, lopsided / waves**0.9, frayed / waves**0.35)
    sizes = sizes * rng.normal(size=len(waves))
    phases = rng.uniform(0, 2 * math.pi, len(waves))
    bump = sizes @ np.cos(waves[:, None] * theta + phases[:, None])
    # A notch or a bud now and then.
    if rng.random() < 0.6 * lesion.asymmetry:
        where, width = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 0.5)
        gap = np.angle(np.exp(1j * (theta - where)))
        bump += rng.choice([-1.0, 1.0]) * 0.3 * lesion.asymmetry * np.exp(-((gap / width) ** 2))
    radius = flat * np.clip(1.0 + bump, 0.45, 1.7)
    longest = (radius + np.roll(radius, steps // 2)).max()
    return (radius * (2.0 / longest)).astype(np.float32)


def _streaks(rng: np.random.Generator, turn: Field, distance: Field) -> Field:
    """Return noise drawn out along the radius: pigment that streams out of the lesion."""
    around, outward = int(rng.integers(36, 80)), 6
    grid = rng.standard_normal((outward, around), dtype=np.float32)
    grid = np.concatenate([grid, grid[:, :1]], axis=1)
    columns = turn * np.float32(around / (2 * math.pi))
    rows = np.clip(distance, 0.0, 1.6) * np.float32((outward - 1) / 1.6)
    return np.asarray(cv2.remap(grid, columns, rows, cv2.INTER_LINEAR), np.float32)


def _one_piece(alpha: Field) -> tuple[npt.NDArray[np.bool_], Field]:
    """Return the largest piece of ``alpha >= 1/2`` with its holes filled, and alpha that agrees."""
    mask = (alpha >= 0.5).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    if count > 2:
        largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
        others = (mask > 0) & (labels != largest)
        alpha = np.where(others, 0.49, alpha).astype(np.float32)
        # Islands next to the lesion fade into spots too faint to count.
        near = cv2.dilate(others.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        fade = np.where(near & (labels != largest), 0.6, 1.0).astype(np.float32)
        alpha *= cv2.GaussianBlur(fade, (3, 3), 0) if others.any() else fade
        mask = (labels == largest).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(mask, contours, -1, 1, thickness=cv2.FILLED)
    filled = mask.astype(bool)
    alpha = np.where(filled, np.maximum(alpha, 0.5), np.minimum(alpha, 0.4999))
    return filled, alpha.astype(np.float32)
