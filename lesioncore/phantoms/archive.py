"""A folder of phantoms: images, exact masks, a table as an archive would have it, and the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lesioncore.errors import LesionError
from lesioncore.files import PathLike, read_json, write_bytes, write_json, write_table, write_text
from lesioncore.images import write_mask
from lesioncore.phantoms.patients import (
    Case,
    diagnosis_of,
    draw_case,
    draw_patient,
    probability_of_malignancy,
)
from lesioncore.phantoms.rendering import (
    PREVALENCE,
    Phantom,
    Shot,
    check_options,
    draw_shot,
    render,
)
from lesioncore.progress import track

SOURCE = "synthetic phantom"
#: Goes up whenever the same seed would give other pictures or other labels.
GENERATOR_VERSION = 1
_MISSING = 0.03  # part of age, sex and site that nobody wrote down
_SECOND_PICTURE = 0.1  # part of lesions that were photographed twice

_README = """Synthetic lesion photographs (phantoms)
=======================================

Every picture in this folder was drawn by a program (lesion-pipeline, lesioncore.phantoms) from
random numbers. None shows a person, a patient or a disease. Ages, sexes, sites and diagnoses are
made up as well. They are for testing software: nothing about skin cancer can be learned from them.

images/        the pictures (JPEG)
masks/         exact masks (8-bit PNG, 0 and 255)
metadata.csv   one row a picture, as an archive would have it
truth.csv      what each picture was drawn from; no model may see it
phantom.json   the seed and options; the same ones give the same folder
"""


@dataclass(frozen=True)
class PlannedImage:
    """One picture of an archive before it is drawn."""

    image_id: str
    patient_id: str
    lesion_id: str
    case: Case
    shot: Shot
    target: int
    probability: float


def plan_archive(
    n: int, seed: int, *, prevalence: float = PREVALENCE, artefacts: float = 1.0
) -> Iterator[PlannedImage]:
    """Yield `n` pictures to draw: patients with one to a dozen lesions, some photographed twice."""
    count = patient = 0
    while count < n:
        rng = np.random.default_rng([seed, 7, patient])
        person = draw_patient(rng)
        for lesion in range(1 + int(min(rng.geometric(0.35) - 1, 11))):
            case = draw_case(rng, person)
            probability = probability_of_malignancy(case, prevalence)
            target = int(rng.random() < probability)
            for _ in range(2 if rng.random() < _SECOND_PICTURE else 1):
                if count == n:
                    return
                yield PlannedImage(
                    image_id=f"PHANTOM_{count:07d}",
                    patient_id=f"PP_{patient:06d}",
                    lesion_id=f"PL_{patient:06d}_{lesion:02d}",
                    case=case,
                    shot=draw_shot(rng, case, artefacts=artefacts),
                    target=target,
                    probability=probability,
                )
                count += 1
        patient += 1


def make_phantom_archive(
    folder: PathLike,
    n: int,
    seed: int = 0,
    size: int = 128,
    *,
    prevalence: float = PREVALENCE,
    artefacts: float = 1.0,
) -> None:
    """Write an archive of `n` phantoms to `folder`.

    `phantom.json` is marked complete last: a folder that was cut off is made again, and one that is
    complete with the same options is left as it is.

    Parameters
    ----------
    folder : path
        Absent, empty, or an archive of phantoms.
    n : int
        Number of pictures.
    seed : int
        From 0; the same seed and options give the same files.
    size : int
        Side of the pictures in pixels.
    prevalence : float
        Part of all lesions that are malignant, in (0, 1).
    artefacts : float
        How often hair, rulers, bubbles and the like occur: 0 never, 1 as usual.

    Raises
    ------
    LesionError
        The folder holds something else, or phantoms made with other options.
    UsageError
        An option is out of range.
    """
    import pandas as pd

    check_options(size=size, prevalence=prevalence, n=n)
    root = Path(folder)
    check_empty_or_own(root)
    options = {
        "source": SOURCE,
        "generator_version": GENERATOR_VERSION,
        "n": n,
        "seed": seed,
        "size": size,
        "prevalence": prevalence,
        "artefacts": artefacts,
    }
    there = archive_options(root)
    if there is not None and there.get("complete"):
        _check_same(root, there, options)
        return
    write_json(root / "phantom.json", {**options, "complete": False})
    write_text(root / "README.md", _README)
    rows, truths = [], []
    plan = plan_archive(n, seed, prevalence=prevalence, artefacts=artefacts)
    for item in track(plan, "drawing phantoms", n):
        image, mask = render(item.case, item.shot, size)
        phantom = Phantom(image, mask, item.target, item.probability, item.case, item.shot)
        _write_image(root / "images" / f"{item.image_id}.jpg", image)
        write_mask(root / "masks" / f"{item.image_id}_segmentation.png", mask)
        rows.append(metadata_row(item, phantom))
        truths.append({"image_id": item.image_id, **phantom.truth})
    write_table(root / "truth.csv", pd.DataFrame(truths))
    write_table(root / "metadata.csv", pd.DataFrame(rows))
    write_json(root / "phantom.json", {**options, "complete": True})


def archive_options(folder: PathLike) -> dict[str, Any] | None:
    """Return what is in `phantom.json` of a folder, or None where there is none."""
    path = Path(folder) / "phantom.json"
    return dict(read_json(path)) if path.is_file() else None


def check_empty_or_own(root: Path) -> None:
    """Raise a `LesionError` if `root` holds anything that phantoms must not be mixed with."""
    if not root.exists():
        return
    if not root.is_dir():
        raise LesionError(f"{root} is a file", wanted="a folder for the phantoms")
    options = archive_options(root)
    names = sorted(item.name for item in root.iterdir())
    if options is None and names:
        raise LesionError(
            f"{root} is not empty and holds no phantoms: {', '.join(names[:8])}",
            wanted="an empty or new folder, or one with a phantom.json",
            mend="--root another folder (phantoms are drawn into it)",
        )
    if options is not None and options.get("source") != SOURCE:
        raise LesionError(f"{root / 'phantom.json'} was not written by this tool")


def differing_options(there: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return each option that a folder was made with otherwise, as `key is this, not that`."""
    return [
        f"{key} is {there.get(key)}, not {value}"
        for key, value in wanted.items()
        if there.get(key) != value
    ]


def _check_same(root: Path, there: dict[str, Any], wanted: dict[str, Any]) -> None:
    differing = differing_options(there, wanted)
    if differing:
        raise LesionError(
            f"{root} holds phantoms made with other options: {'; '.join(differing)}",
            wanted="the same options, or a folder without phantoms",
            mend="choose another folder, or remove this one",
        )


def metadata_row(item: PlannedImage, phantom: Phantom) -> dict[str, Any]:
    """Return the row of `metadata.csv`; a few values are missing, as in any archive."""
    rng = np.random.default_rng([item.shot.seed, 8])
    gone = rng.random(3) < _MISSING
    case, field = item.case, item.shot.field_mm
    lightness, _, b = case.patient.skin.lab
    area = float(phantom.mask.mean()) * field**2
    return {
        "image_id": item.image_id,
        "source": SOURCE,
        "patient_id": item.patient_id,
        "lesion_id": item.lesion_id,
        "target": item.target,
        "diagnosis": diagnosis_of(case, bool(item.target)),
        # Archives publish ages in steps of five years.
        "age": None if gone[0] else 5 * round(case.patient.age_years / 5),
        "sex": None if gone[1] else case.patient.sex,
        "site": None if gone[2] else case.site,
        "modality": "dermoscopy",
        "diameter_mm": round(case.lesion.diameter_mm * float(np.exp(rng.normal(0, 0.06))), 1),
        # Named as in ISIC 2024, with a small error: the lesion's size and the skin's colour.
        "tbp_lv_areaMM2": round(area * float(np.exp(rng.normal(0, 0.05))), 2),
        "tbp_lv_minorAxisMM": round(
            case.lesion.diameter_mm * case.lesion.elongation * float(np.exp(rng.normal(0, 0.06))), 2
        ),
        "tbp_lv_Lext": round(lightness + float(rng.normal(0, 0.8)), 2),
        "tbp_lv_Bext": round(b + float(rng.normal(0, 0.5)), 2),
    }


def _write_image(path: Path, image: np.ndarray) -> None:
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 94]
    )
    if not done:
        raise LesionError(f"could not encode {path} as JPEG")
    write_bytes(path, data.tobytes())
