"""Skin: tone over the whole ITA range, blotches, furrows, freckles and fine vessels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesioncore.phantoms.noise import Field, fractal_noise, line_noise, smoothstep, value_noise

# b* over the individual typology angle, ITA = atan((L* - 50) / b*): yellow is strongest in
# intermediate skin. L* follows from the definition, so that the angle of each tone is exact.
_ITA_KNOTS = (-60.0, -50.0, -30.0, 0.0, 10.0, 28.0, 41.0, 55.0, 65.0, 72.0)
_B_KNOTS = (11.5, 13.5, 17.0, 19.5, 20.0, 19.0, 17.0, 14.0, 10.5, 7.5)
_A_KNOTS = (8.0, 9.0, 11.0, 12.5, 12.5, 11.5, 10.5, 9.5, 9.0, 8.5)

# Absorption of a unit of pigment in linear R, G, B: melanin rises toward blue, haemoglobin peaks in
# green. The ratios follow the spectra averaged over the primaries (S. Jacques, omlc.org).
MELANIN = np.array([1.0, 1.85, 2.75], np.float32)
BLOOD = np.array([0.14, 1.0, 0.82], np.float32)


@dataclass(frozen=True)
class Skin:
    """Skin of one patient.

    Attributes
    ----------
    ita : float
        Individual typology angle in degrees: above 55 very light, below -30 dark.
    redness : float
        Added to a* (CIELAB).
    texture : float
        0 smooth, 1 coarse furrows.
    blotches : float
        0 even, 1 mottled.
    freckles : float
        0 none, 1 many.
    """

    ita: float
    redness: float
    texture: float
    blotches: float
    freckles: float

    @property
    def lab(self) -> tuple[float, float, float]:
        """CIELAB (D65) colour of the skin."""
        b = float(np.interp(self.ita, _ITA_KNOTS, _B_KNOTS))
        a = float(np.interp(self.ita, _ITA_KNOTS, _A_KNOTS)) + self.redness
        return 50.0 + b * math.tan(math.radians(self.ita)), a, b

    @property
    def fitzpatrick(self) -> int:
        """Fitzpatrick type 1 to 6 by the usual limits of the ITA (Chardon 1991, extended)."""
        return 1 + sum(self.ita < limit for limit in (55.0, 41.0, 28.0, 10.0, -30.0))


def draw_skin(rng: np.random.Generator) -> Skin:
    """Draw a skin; the angle is spread over the whole range, light ones a little more often."""
    ita = -60.0 + 130.0 * float(rng.beta(1.5, 1.0))
    light = float(np.clip((ita - 10.0) / 50.0, 0.0, 1.0))
    return Skin(
        ita=ita,
        redness=float(rng.normal(0.5, 1.6) + rng.exponential(1.8) * light),
        texture=float(rng.beta(2.0, 2.5)),
        blotches=float(rng.beta(1.6, 2.5)),
        freckles=float(rng.beta(1.0, 6.0) * light + 0.15 * rng.beta(1.0, 4.0)),
    )


def lab_to_linear(lab: tuple[float, float, float]) -> npt.NDArray[np.float32]:
    """Return linear sRGB (3,) in [0, 1] of a CIELAB (D65, 2 degrees) colour."""
    lightness, a, b = lab
    fy = (lightness + 16.0) / 116.0
    cubes = []
    for f in (fy + a / 500.0, fy, fy - b / 200.0):
        cubes.append(f**3 if f > 6.0 / 29.0 else 3.0 * (6.0 / 29.0) ** 2 * (f - 4.0 / 29.0))
    xyz = np.array(cubes) * (0.95047, 1.0, 1.08883)
    matrix = np.array(
        [
            [3.2404542, -1.5371385, -0.4985314],
            [-0.9692660, 1.8760108, 0.0415560],
            [0.0556434, -0.2040259, 1.0572252],
        ]
    )
    return np.clip(matrix @ xyz, 0.0, 1.0).astype(np.float32)


def skin_densities(
    rng: np.random.Generator, skin: Skin, size: int, field_mm: float
) -> tuple[Field, Field, Field]:
    """Return how the skin differs from its mean tone.

    Parameters
    ----------
    rng : numpy Generator
    skin : Skin
    size : int
        Side in pixels.
    field_mm : float
        Width of the picture on the skin in millimetres.

    Returns
    -------
    melanin, blood : (size, size) float32
        Densities added to the mean, in units of `MELANIN` and `BLOOD`.
    relief : (size, size) float32
        Factor on the light, about 1: furrows are darker, ridges brighter.
    """
    coarse = fractal_noise(rng, size, 4, octaves=5, gain=0.62)
    fine = fractal_noise(rng, size, 24, octaves=3, gain=0.8)
    melanin = coarse * (0.035 * (0.3 + skin.blotches)) + fine * 0.022
    blood = fractal_noise(rng, size, 6, octaves=5, gain=0.78) * (0.04 + 0.1 * skin.blotches)
    blood += smoothstep(0.9, 2.2, value_noise(rng, size, 26)) * (0.2 * skin.blotches)
    spots = value_noise(rng, size, max(8, int(field_mm * 1.6)))
    melanin += smoothstep(1.75, 2.7, spots + 0.25 * coarse) * (1.1 * skin.freckles)
    relief = _relief(rng, skin, size, field_mm)
    return melanin, blood, relief


def _relief(rng: np.random.Generator, skin: Skin, size: int, field_mm: float) -> Field:
    """Two or three families of furrows that cross, as on the back of a hand."""
    relief = np.ones((size, size), np.float32)
    angle = float(rng.uniform(0.0, math.pi))
    lines = int(np.clip(field_mm * 2.2, 14, 40))
    for turn in (0.0, 1.1, 2.05):
        strength = 0.05 * skin.texture * float(rng.uniform(0.3, 1.0))
        field = line_noise(rng, size, lines, max(4, lines // 4), angle + turn)
        # Narrow valleys, broad ridges.
        relief -= strength * (smoothstep(0.25, 0.0, np.abs(field)) - 0.3)
    return relief
