"""From a seed to a photograph of a made-up lesion, its exact mask and the truth behind both."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lesioncore.errors import UsageError
from lesioncore.phantoms.artefacts import (
    Artefacts,
    add_artefacts,
    draw_artefacts,
    frame_visibility,
)
from lesioncore.phantoms.camera import Camera, draw_camera, expose
from lesioncore.phantoms.lesion import outline
from lesioncore.phantoms.noise import Field
from lesioncore.phantoms.patients import (
    Case,
    draw_case,
    draw_patient,
    hairiness_at,
    probability_of_malignancy,
)
from lesioncore.phantoms.pigment import Pigment, lesion_pigment
from lesioncore.phantoms.skin import BLOOD, MELANIN, lab_to_linear, skin_densities

PREVALENCE = 0.25
_BLACK = np.array([1.0, 1.15, 1.3], np.float32)
_VEIL = np.array([0.2, 0.2, 0.235], np.float32)
_WHITE = np.array([0.88, 0.73, 0.69], np.float32)


@dataclass(frozen=True)
class Shot:
    """One picture of a lesion: framing, camera and what is in the way.

    Attributes
    ----------
    field_mm : float
        Width of the picture on the skin.
    centre : (x, y)
        Place of the lesion as fractions of the width.
    angle : float
        Rotation of the lesion in radians.
    seed : int
        Seeds the skin around the lesion.
    """

    field_mm: float
    centre: tuple[float, float]
    angle: float
    seed: int
    camera: Camera
    artefacts: Artefacts


@dataclass(frozen=True)
class Phantom:
    """A synthetic photograph.

    Attributes
    ----------
    image : (size, size, 3) uint8 RGB
    mask : (size, size) bool
        Exact: where at least half of the lesion's border zone is present and not behind the frame.
    target : int
        1 malignant, 0 benign.
    probability : float
        Of malignancy, from which `target` was drawn.
    case, shot
        All that the picture was made from.
    """

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]
    target: int
    probability: float
    case: Case
    shot: Shot

    @property
    def truth(self) -> dict[str, Any]:
        """What the picture was made from, flat and ready for a table."""
        lesion, skin, shot = self.case.lesion, self.case.patient.skin, self.shot
        values = {f"lesion_{key}": value for key, value in asdict(lesion).items()}
        values["lesion_colours"] = ", ".join(lesion.colours)
        values["lesion_colour_count"] = len(lesion.colours)
        values |= {f"artefact_{key}": value for key, value in asdict(shot.artefacts).items()}
        for name in ("lesion_seed", "artefact_seed"):
            values.pop(name)
        return values | {
            "skin_ita": skin.ita,
            "skin_fitzpatrick": skin.fitzpatrick,
            "field_mm": shot.field_mm,
            "probability": self.probability,
            "target": self.target,
        }


def make_phantom(
    seed: int, size: int = 128, *, prevalence: float = PREVALENCE, artefacts: float = 1.0
) -> Phantom:
    """Return a synthetic lesion photograph; the same seed gives the same lesion at every size.

    Parameters
    ----------
    seed : int
        Any number from 0.
    size : int
        Side in pixels, from 32.
    prevalence : float
        Part of all lesions that are malignant, in (0, 1).
    artefacts : float
        How often hair, rulers, bubbles and the like occur: 0 never, 1 as usual.

    Raises
    ------
    UsageError
        A number is out of range.
    """
    check_options(size=size, prevalence=prevalence)
    rng = np.random.default_rng([seed, 0])
    case = draw_case(rng, draw_patient(rng))
    shot = draw_shot(rng, case, artefacts=artefacts)
    probability = probability_of_malignancy(case, prevalence)
    target = int(rng.random() < probability)
    image, mask = render(case, shot, size)
    return Phantom(image, mask, target, probability, case, shot)


def check_options(*, size: int, prevalence: float, n: int = 1) -> None:
    """Raise `UsageError` where an option of a phantom is out of range."""
    if not 32 <= size <= 4096:
        raise UsageError(f"phantoms of {size} pixels", wanted="a size from 32 to 4096")
    if not 0.0 < prevalence < 1.0:
        raise UsageError(f"a prevalence of {prevalence}", wanted="a fraction between 0 and 1")
    if n < 1:
        raise UsageError(f"n is {n}: no phantoms to make", wanted="n of at least 1")


def draw_shot(rng: np.random.Generator, case: Case, *, artefacts: float = 1.0) -> Shot:
    """Draw one picture of `case`."""
    diameter = case.lesion.diameter_mm
    ratio = diameter / math.exp(rng.normal(math.log(10.8), 0.24))
    ratio = float(np.clip(ratio, 0.18, 0.88))
    # Most lesions are framed well; one in twelve leaves the picture.
    stray = rng.random() < 0.08
    slack = 0.3 if stray else max(0.02, 0.22 * (1.0 - ratio))
    centre = 0.5 + np.clip(rng.normal(0, slack / 2, 2), -slack, slack)
    return Shot(
        field_mm=diameter / ratio,
        centre=(float(centre[0]), float(centre[1])),
        angle=float(rng.uniform(0, 2 * math.pi)),
        seed=int(rng.integers(2**31)),
        camera=draw_camera(rng),
        artefacts=draw_artefacts(rng, hairiness=hairiness_at(case), strength=artefacts),
    )


def render(
    case: Case, shot: Shot, size: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Return the picture (size, size, 3) uint8 RGB and the exact mask (size, size) bool."""
    rng = np.random.default_rng([shot.seed, 6])
    skin = case.patient.skin
    melanin, blood, relief = skin_densities(rng, skin, size, shot.field_mm)
    place = outline(case.lesion, size, shot.field_mm, shot.centre, shot.angle)
    pigment = lesion_pigment(case.lesion, place, size, shot.field_mm)
    light = _reflect(lab_to_linear(skin.lab), melanin, blood, relief, pigment)
    light = add_artefacts(light, shot.artefacts, shot.field_mm)
    mask = place.mask
    visible = frame_visibility(shot.artefacts, size)
    if visible is not None:
        light *= visible
        light += np.float32(0.004)
        mask = mask & (visible >= 0.5)
    return expose(light, shot.camera), mask


def _reflect(
    skin: npt.NDArray[np.float32], melanin: Field, blood: Field, relief: Field, pigment: Pigment
) -> Field:
    """Return the light that comes back, (3, size, size): absorbed, then scattered."""
    melanin = melanin + pigment.melanin
    blood = blood + pigment.blood
    light: Field = np.empty((3, *melanin.shape), np.float32)
    bright = float(skin.mean())
    veil_colour = _VEIL * (0.35 + 0.9 * bright)
    white_colour = _WHITE * (0.3 + 1.1 * bright)
    for channel, plane in enumerate(light):
        np.multiply(melanin, -MELANIN[channel], out=plane)
        plane -= blood * BLOOD[channel]
        plane -= pigment.black * _BLACK[channel]
        np.exp(plane, out=plane)
        plane *= skin[channel]
        # Nothing on a body is blacker than this: the surface itself also reflects.
        plane += np.float32(0.006)
        plane += pigment.veil * (np.float32(veil_colour[channel]) - plane)
        plane += pigment.white * (np.float32(white_colour[channel]) - plane)
        plane *= relief
    return light
