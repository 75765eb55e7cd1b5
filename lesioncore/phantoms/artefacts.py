"""What is in the way: hair, ruler, gel bubbles, ink, specular spots, the dark circular frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from lesioncore.phantoms.noise import Field, smoothstep

_SHIFT = 4  # OpenCV draws to 1/16 of a pixel


@dataclass(frozen=True)
class Artefacts:
    """What disturbs one picture; 0 or False leaves it out.

    Attributes
    ----------
    hairs : int
        Long hairs.
    stubble : int
        Short ones.
    ruler, bubbles, ink : bool
    specular : int
        Bright spots.
    frame : float
        Radius of the dark circular frame as a fraction of the width; 0 for none.
    seed : int
        Seeds the places.
    """

    hairs: int
    stubble: int
    ruler: bool
    bubbles: bool
    ink: bool
    specular: int
    frame: float
    seed: int


def draw_artefacts(
    rng: np.random.Generator, *, hairiness: float, strength: float = 1.0
) -> Artefacts:
    """Draw what disturbs a picture; `hairiness` in [0, 1], `strength` scales how often."""

    def happens(chance: float) -> bool:
        return bool(rng.random() < min(chance * strength, 1.0))

    hairs = rng.poisson(3 + 26 * hairiness**2) if happens(0.12 + 0.65 * hairiness) else 0
    return Artefacts(
        hairs=int(min(hairs, 60)),
        stubble=int(rng.poisson(8)) if happens(0.12) else 0,
        ruler=happens(0.16),
        bubbles=happens(0.14),
        ink=happens(0.035),
        specular=int(rng.poisson(7)) if happens(0.3) else 0,
        frame=float(rng.uniform(0.5, 0.66)) if happens(0.14) else 0.0,
        seed=int(rng.integers(2**31)),
    )


def add_artefacts(image: Field, artefacts: Artefacts, field_mm: float) -> Field:
    """Return `image` with all but the frame drawn over it.

    Parameters
    ----------
    image : (3, size, size) float32
        Linear RGB, about 0 to 1; channels first, as NumPy is slow along short last axes.
    artefacts : Artefacts
    field_mm : float
        Width of the picture: ruler marks stand a millimetre apart.
    """
    rng = np.random.default_rng([artefacts.seed, 3])
    size = image.shape[1]
    if artefacts.ink:
        image = _ink(image, rng, size)
    if artefacts.hairs or artefacts.stubble:
        image = _hair(image, artefacts, rng, size)
    if artefacts.ruler:
        image = _ruler(image, rng, size, field_mm)
    if artefacts.bubbles:
        image = _bubbles(image, rng, size)
    if artefacts.specular:
        image = _specular(image, artefacts.specular, rng, size)
    return image


def frame_visibility(artefacts: Artefacts, size: int) -> Field | None:
    """Return how much of each pixel the circular frame leaves, in [0, 1], or None without one."""
    if not artefacts.frame:
        return None
    rng = np.random.default_rng([artefacts.seed, 4])
    cx, cy = 0.5 + rng.normal(0, 0.02, 2)
    edge = float(rng.uniform(0.008, 0.03))
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    distance = np.sqrt(np.square(line - cx)[None, :] + np.square(line - cy)[:, None])
    return smoothstep(artefacts.frame + edge, artefacts.frame - edge, distance.astype(np.float32))


def _canvas(size: int) -> npt.NDArray[np.uint8]:
    # Twice the size: OpenCV's thinnest line is one pixel, a hair is often half of one.
    return np.zeros((2 * size, 2 * size), np.uint8)


def _down(canvas: npt.NDArray[np.uint8], size: int) -> Field:
    small = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) * (1.0 / 255.0)


def _polyline(
    canvas: npt.NDArray[np.uint8], points: npt.NDArray[np.float64], value: int, thick: int
) -> None:
    """Draw points given in fractions of the width."""
    pixels = np.round((points * canvas.shape[0] - 0.5) * (1 << _SHIFT)).astype(np.int32)
    cv2.polylines(canvas, [pixels[:, None]], False, value, thick, cv2.LINE_AA, _SHIFT)


def _blend(image: Field, alpha: Field, colour: npt.NDArray[np.float32]) -> Field:
    return image + alpha * (colour[:, None, None] - image)


def _hair(image: Field, artefacts: Artefacts, rng: np.random.Generator, size: int) -> Field:
    canvas, shade = _canvas(size), _canvas(size)
    common = rng.uniform(0, math.pi)
    spread = rng.choice([0.25, 0.6, 1.6])
    curl = rng.choice([0.15, 0.5, 1.2])
    unit = max(1, round(size / 128))
    t = np.linspace(0.0, 1.0, 14)[:, None]
    for number in range(artefacts.hairs + artefacts.stubble):
        short = number >= artefacts.hairs
        length = rng.uniform(0.04, 0.1) if short else rng.uniform(0.3, 1.3)
        angle = common + rng.normal(0, spread) + (math.pi if rng.random() < 0.5 else 0.0)
        start = rng.uniform(-0.2, 1.2, 2)
        heading = np.array([math.cos(angle), math.sin(angle)])
        normal = np.array([-heading[1], heading[0]])
        bow = rng.normal(0, 0.1 if short else 0.22 * curl) * length
        swing = 0.0 if short else rng.normal(0, 0.06 * curl) * length
        points = start + t * length * heading
        points = points + normal * (4 * bow * t * (1 - t) + swing * np.sin(6.3 * t))
        thick = unit if short or rng.random() < 0.45 else 2 * unit
        value = int(rng.integers(170, 255))
        # Thick at the root, thin at the tip.
        _polyline(canvas, points, int(0.8 * value), unit)
        _polyline(canvas, points[: int(rng.integers(7, 13))], value, thick)
        _polyline(shade, points + 0.006, 110, 2 * unit)
    image = image * (1.0 - 0.3 * cv2.GaussianBlur(_down(shade, size), (3, 3), 0))
    tones = np.array(
        [[0.012, 0.009, 0.008], [0.03, 0.016, 0.009], [0.1, 0.055, 0.025], [0.3, 0.26, 0.21]],
        np.float32,
    )
    colour = tones[int(rng.choice(4, p=[0.45, 0.35, 0.14, 0.06]))]
    return _blend(image, _down(canvas, size), colour)


def _ruler(image: Field, rng: np.random.Generator, size: int, field_mm: float) -> Field:
    canvas = _canvas(size)
    angle = rng.normal(0, 0.12) + (math.pi / 2 if rng.random() < 0.25 else 0.0)
    along = np.array([math.cos(angle), math.sin(angle)])
    across = np.array([-along[1], along[0]])
    middle = np.array([0.5, 0.5]) + across * rng.choice([-1, 1]) * rng.uniform(0.36, 0.45)
    step = 1.0 / field_mm
    count = max(5, int(min(10, 0.8 * field_mm)))
    start = middle - along * step * count / 2 + along * rng.normal(0, 0.04)
    thick = max(1, round(size / 128))
    value = int(rng.integers(150, 235))
    _polyline(canvas, np.stack([start, start + along * step * count]), value, thick)
    for mark in range(2 * count + 1):
        long = mark % 10 == 0 or mark == 2 * count
        height = 0.03 if long else 0.018 if mark % 2 == 0 else 0.01
        foot = start + along * step * mark / 2
        _polyline(canvas, np.stack([foot, foot - across * height]), value, thick)
    if rng.random() < 0.6:
        at = (start + across * 0.045) * canvas.shape[0]
        cv2.putText(
            canvas,
            "MM",
            (int(at[0]), int(at[1])),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.3 * canvas.shape[0] / 256,
            value,
            thick,
            cv2.LINE_AA,
        )
    return _blend(image, _down(canvas, size), np.array([0.02, 0.02, 0.022], np.float32))


def _bubbles(image: Field, rng: np.random.Generator, size: int) -> Field:
    light, dark = _canvas(size), _canvas(size)
    side = 2 * size
    unit = max(1, round(size / 128))
    count = int(rng.integers(2, 14))
    cluster = rng.uniform(0.05, 0.95, 2)
    for _ in range(count):
        place = np.where(rng.random() < 0.6, cluster + rng.normal(0, 0.12, 2), rng.random(2))
        radius = float(np.clip(rng.lognormal(math.log(0.016), 0.55), 0.006, 0.06))
        centre = tuple(int(v) for v in place * side * 16)
        cv2.circle(dark, centre, int(radius * side * 16), 130, 2 * unit, cv2.LINE_AA, _SHIFT)
        inner = max(int((radius - 0.004) * side * 16), 1)
        cv2.circle(light, centre, inner, 90, unit, cv2.LINE_AA, _SHIFT)
        # The lamp mirrored in the wall of the bubble.
        axes = (inner * 7 // 10 // 16, inner * 7 // 10 // 16)
        spot = (centre[0] // 16, centre[1] // 16)
        cv2.ellipse(light, spot, axes, 0, 200, 260, 235, unit, cv2.LINE_AA)
    image = image * (1.0 - 0.5 * _down(dark, size))
    return image + (0.75 * _down(light, size)) * (1.0 - image)


def _specular(image: Field, count: int, rng: np.random.Generator, size: int) -> Field:
    canvas = _canvas(size)
    side = 2 * size
    cluster, spread = rng.uniform(0.2, 0.8, 2), float(rng.uniform(0.06, 0.3))
    for _ in range(count):
        place = cluster + rng.normal(0, spread, 2)
        axes = rng.uniform(0.002, 0.008, 2) * side
        cv2.ellipse(
            canvas,
            (int(place[0] * side), int(place[1] * side)),
            (max(1, int(axes[0])), max(1, int(axes[1]))),
            float(rng.uniform(0, 180)),
            0,
            360,
            int(rng.integers(140, 255)),
            cv2.FILLED,
            cv2.LINE_AA,
        )
    spots = _down(canvas, size)
    glow = cv2.GaussianBlur(spots, (0, 0), size / 90)
    return image + np.minimum(spots * 0.95 + glow * 0.5, 1.0) * (np.float32(1.05) - image)


def _ink(image: Field, rng: np.random.Generator, size: int) -> Field:
    """Strokes of a surgical pen at a corner."""
    canvas = _canvas(size)
    corner = rng.choice([-0.02, 1.02], 2) + rng.normal(0, 0.08, 2)
    for _ in range(int(rng.integers(2, 6))):
        points = corner + rng.normal(0, 0.09, (6, 2))
        _polyline(canvas, points, 235, int(rng.integers(4, 11)) * max(1, size // 128))
    alpha = cv2.GaussianBlur(_down(canvas, size), (0, 0), size / 110) * 0.8
    colour = np.array([[0.09, 0.03, 0.25], [0.03, 0.05, 0.28]], np.float32)[int(rng.integers(2))]
    return _blend(image, alpha, colour)
