"""The pool: a few distinct pictures a patient, drawn once, from which all tiles are cut."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from lesioncore.files import atomic_path
from lesioncore.phantoms.patients import draw_case, draw_patient, log_odds
from lesioncore.phantoms.rendering import Shot, draw_shot, render
from lesioncore.phantoms.standin.plan import LESIONS, Plan

#: Side of a picture of the pool, pixels: the largest tile with room to move.
SIDE = 168
#: A tile of 131 pixels shows 15 mm, as those of ISIC 2024 do.
MM_PER_PIXEL = 15.0 / 131.0
#: Patients whose pictures lie in one file.
CHUNK = 32
#: What is known of a picture. Lengths and areas in pixels; colours in CIELAB, inside and outside.
TRAITS = (
    "age", "male", "log_odds", "y", "x", "major", "minor", "area", "perimeter",
    "L", "A", "B", "Lext", "Aext", "Bext", "std_L", "std_Lext", "std_colour",
)  # fmt: skip

Values = npt.NDArray[Any]


def chunks(plan: Plan) -> range:
    """Return the numbers of the pool's files."""
    return range(-(-plan.patients // CHUNK))


def pool_bytes(plan: Plan) -> int:
    """Return how many bytes the pool takes on the disk."""
    return plan.patients * LESIONS * (SIDE * SIDE * 3 + 4 * len(TRAITS))


def draw_chunk(plan: Plan, folder: Path, chunk: int) -> None:
    """Draw the pictures of CHUNK patients; the file of traits is written last."""
    first = chunk * CHUNK
    patients = range(first, min(first + CHUNK, plan.patients))
    pictures = np.empty((len(patients) * LESIONS, SIDE, SIDE, 3), np.uint8)
    traits = np.empty((len(pictures), len(TRAITS)), np.float32)
    row = 0
    for patient in patients:
        rng = np.random.default_rng([plan.seed, 24, patient])
        person = draw_patient(rng)
        for _ in range(LESIONS):
            case = draw_case(rng, person)
            odds = log_odds(case)
            # Mapped lesions are smaller than those that somebody took a dermatoscope to.
            small = float(np.clip(0.62 * case.lesion.diameter_mm, 1.8, 11.0))
            case = replace(case, lesion=replace(case.lesion, diameter_mm=small))
            image, mask = render(case, _as_tile(rng, draw_shot(rng, case)), SIDE)
            pictures[row] = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            traits[row] = (person.age_years, person.sex == "male", odds, *_measure(image, mask))
            row += 1
    for path, values in ((_pictures(folder, chunk), pictures), (_traits(folder, chunk), traits)):
        with atomic_path(path) as temporary:
            np.save(temporary, values)


def is_drawn(folder: Path, chunk: int) -> bool:
    """Return whether a chunk is finished."""
    return _traits(folder, chunk).is_file()


def read_traits(plan: Plan, folder: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Return each of TRAITS, (patients * LESIONS,) float32; row `patient * LESIONS + lesion`."""
    table = np.concatenate([np.load(_traits(folder, chunk)) for chunk in chunks(plan)])
    return {name: table[:, column] for column, name in enumerate(TRAITS)}


class Pool:
    """The finished pool, mapped: workers share its pages, and none holds the whole of it.

    Parameters
    ----------
    folder : path
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mapped: dict[int, tuple[Values, Values]] = {}

    def picture(self, patient: int, lesion: int) -> npt.NDArray[np.uint8]:
        """Return a picture, (SIDE, SIDE, 3) uint8 BGR."""
        return np.asarray(self._row(patient, lesion, 0), np.uint8)

    def centre(self, patient: int, lesion: int) -> npt.NDArray[np.float32]:
        """Return where the lesion lies in its picture: (y, x) in pixels."""
        first = TRAITS.index("y")
        return np.asarray(self._row(patient, lesion, 1)[first : first + 2], np.float32)

    def _row(self, patient: int, lesion: int, which: int) -> Values:
        chunk, place = divmod(patient, CHUNK)
        if chunk not in self._mapped:
            self._mapped[chunk] = (
                np.load(_pictures(self._folder, chunk), mmap_mode="r"),
                np.load(_traits(self._folder, chunk)),
            )
        return np.asarray(self._mapped[chunk][which][place * LESIONS + lesion])


def _as_tile(rng: np.random.Generator, shot: Shot) -> Shot:
    """Return `shot` as whole-body photography takes it: centred, 131 pixels for 15 mm, soft."""
    y, x = 0.5 + rng.normal(0.0, 0.012, 2)
    artefacts = replace(shot.artefacts, ruler=False, bubbles=False, ink=False, frame=0.0)
    # Sharpness and noise at which a tile takes the bytes of an official one at their quality.
    camera = replace(
        shot.camera, blur=0.3 + 0.3 * shot.camera.blur, noise=2.7 + 0.9 * shot.camera.noise
    )
    return replace(
        shot,
        field_mm=SIDE * MM_PER_PIXEL,
        centre=(float(x), float(y)),
        artefacts=artefacts,
        camera=camera,
    )


def _measure(image: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_]) -> tuple[float, ...]:
    """Return the traits from "y" on."""
    moments = cv2.moments(mask.astype(np.uint8), binaryImage=True)
    area = moments["m00"]
    half = (moments["mu20"] + moments["mu02"]) / 2 / area
    turn = math.hypot((moments["mu20"] - moments["mu02"]) / 2, moments["mu11"]) / area
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    inside, outside = lab[mask], lab[~mask]
    return (
        moments["m01"] / area,
        moments["m10"] / area,
        4 * math.sqrt(half + turn),
        4 * math.sqrt(max(half - turn, 1.0)),
        area,
        sum(cv2.arcLength(outline, True) for outline in outlines),
        *inside.mean(axis=0),
        *outside.mean(axis=0),
        inside[:, 0].std(),
        outside[:, 0].std(),
        inside[:, 1:].std(),
    )


def _pictures(folder: Path, chunk: int) -> Path:
    return folder / f"pool-{chunk:05d}.npy"


def _traits(folder: Path, chunk: int) -> Path:
    return folder / f"traits-{chunk:05d}.npy"
