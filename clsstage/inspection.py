"""A look at every image before a training begins: can it be read, and is it there twice?"""

from __future__ import annotations

import numpy as np

from clsstage.examples import Examples
from lesioncore.duplicates import duplicate_pairs, grey_copy, looks_for_near
from lesioncore.errors import LesionError
from lesioncore.files import sha256_bytes
from lesioncore.images import decode_image, read_image_bytes
from lesioncore.integrity import defect
from lesioncore.progress import log, track


def inspect(
    examples: Examples, max_failed: int, *, near: bool = True
) -> tuple[Examples, list[tuple[str, str]]]:
    """Return the examples whose image is whole, and the pairs of ids that show the same picture.

    Bytes are read and their structure is checked. Images are decoded only to look for near
    copies, which is left out above `lesioncore.duplicates.MOST_COMPARED` images, so 400,000 tiles
    take minutes, not hours.

    Raises
    ------
    LesionError
        More than `max_failed` images are missing, cut off or no pictures; the first are named.
    """
    near = looks_for_near(len(examples), near)
    digests: dict[str, str] = {}
    copies = []
    problems: dict[int, str] = {}
    rows = zip(examples.manifest["image_id"], examples.manifest["image"], strict=True)
    for row, (image_id, image) in enumerate(
        track(rows, "looking at the images", total=len(examples))
    ):
        try:
            data = read_image_bytes(image)
        except LesionError as error:
            problems[row] = error.found
            continue
        problem = defect(data)
        if problem is not None:
            problems[row] = f"{image}: {problem}"
            continue
        try:
            if near:
                copies.append(grey_copy(decode_image(data, str(image))))
        except LesionError as error:
            problems[row] = error.found
            continue
        digests[str(image_id)] = sha256_bytes(data)
    for problem in list(problems.values())[:5]:
        log.warning("%s", problem)
    if len(problems) > max_failed:
        raise LesionError(
            f"{len(problems)} of {len(examples)} images cannot be read (first: "
            f"{next(iter(problems.values()))})",
            wanted=f"at most {max_failed} such images",
            mend="fetch them again, or leave them out with --max-failed N",
        )
    if problems:
        log.warning("%d of %d images are left out", len(problems), len(examples))
    whole = np.ones(len(examples), bool)
    whole[list(problems)] = False
    pairs = duplicate_pairs(digests, np.stack(copies) if copies else None)
    return examples.where(whole), pairs
