"""The camera: white balance, exposure, fall-off of the lamp, focus, noise and the sRGB curve."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from lesioncore.phantoms.noise import Field


@dataclass(frozen=True)
class Camera:
    """How one picture was taken.

    Attributes
    ----------
    gains : (r, g, b)
        White balance.
    exposure : float
        Factor on the light.
    contrast, saturation : float
        1 leaves them.
    falloff : float
        Loss of light in the corners, 0 to 1.
    tilt : (x, y)
        Loss of light across the picture.
    blur : float
        Standard deviation in 1/128 of the width.
    noise : float
        Standard deviation in grey levels of 255.
    seed : int
    """

    gains: tuple[float, float, float]
    exposure: float
    contrast: float
    saturation: float
    falloff: float
    tilt: tuple[float, float]
    blur: float
    noise: float
    seed: int


def draw_camera(rng: np.random.Generator) -> Camera:
    """Draw a camera: most are well set, a few blurred, cold or pink."""
    warm, pink = rng.normal(0, 0.06), rng.normal(0.01, 0.045)
    return Camera(
        gains=(math.exp(warm + pink), math.exp(-pink), math.exp(-warm + 0.5 * pink)),
        exposure=math.exp(rng.normal(0.12, 0.14)),
        contrast=float(rng.normal(1.08, 0.1)),
        saturation=float(rng.normal(1.03, 0.1)),
        falloff=float(rng.beta(1.5, 5.0)),
        tilt=(float(rng.normal(0, 0.05)), float(rng.normal(0, 0.05))),
        blur=float(rng.gamma(2.0, 0.2)),
        noise=float(rng.gamma(2.0, 0.9)),
        seed=int(rng.integers(2**31)),
    )


def expose(light: Field, camera: Camera) -> npt.NDArray[np.uint8]:
    """Return the picture that `camera` takes of `light`.

    Parameters
    ----------
    light : (3, size, size) float32
        Linear RGB, about 0 to 1.

    Returns
    -------
    (size, size, 3) uint8 RGB
    """
    size = light.shape[1]
    rng = np.random.default_rng([camera.seed, 5])
    line = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    squares = np.square(line)
    lamp = 1.0 - np.float32(0.5 * camera.falloff) * (squares[:, None] + squares[None, :])
    lamp *= (
        1.0
        + np.float32(camera.tilt[0]) * line[None, :]
        + np.float32(camera.tilt[1]) * line[:, None]
    )
    sigma = camera.blur * size / 128
    grey = 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2]
    grey *= np.float32(1 - camera.saturation)
    fine = rng.standard_normal((size, size), dtype=np.float32)
    curve = _curve(round(camera.contrast, 2))
    planes = []
    for channel in range(3):
        plane = light[channel] * np.float32(camera.saturation)
        plane += grey
        plane *= lamp
        if sigma > 0.25:
            plane = cv2.GaussianBlur(plane, (0, 0), sigma)
        plane *= np.float32(camera.gains[channel] * camera.exposure * 4095 / 1.2)
        np.clip(plane, 0.0, 4095.0, out=plane)
        levels = curve.take(plane.astype(np.uint16))
        # Cameras interpolate colour from half of their pixels, so its noise is coarser.
        coarse = rng.standard_normal((size // 2, size // 2), dtype=np.float32)
        wide = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
        levels += np.float32(0.8 * camera.noise) * fine
        levels += np.float32(0.7 * camera.noise) * wide
        planes.append(cv2.convertScaleAbs(np.maximum(levels, 0.0)))
    return np.asarray(cv2.merge(planes), np.uint8)


@lru_cache(maxsize=256)
def _curve(contrast: float) -> Field:
    """Return sRGB grey levels (0 to 255) for 4096 linear codes, with a shoulder and contrast."""
    linear = np.linspace(0.0, 1.2, 4096, dtype=np.float64)
    # A soft shoulder above 0.8: highlights roll off as in a camera instead of clipping.
    over = np.maximum(linear - 0.75, 0.0)
    linear = np.minimum(linear, 0.75) + 0.25 * (1.0 - np.exp(-over / 0.25))
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.clip(255 * (0.5 + (srgb - 0.5) * contrast), 0, 255).astype(np.float32)
