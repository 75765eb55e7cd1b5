"""Faces in a photograph, by the cascades that come with OpenCV 4 (Viola, Jones, CVPR 2001).

They find a face that looks into the camera, or to a side, of a seventh of the picture's shorter
side or more. They miss turned heads, parts of faces and eyes alone: nothing found is no proof that
nobody can be recognised.
"""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from lesioncore.errors import LesionError

Box = tuple[int, int, int, int]

#: Raise it when the same picture would give other boxes.
FINDER_VERSION = 1
#: Longer side at which pictures are searched, pixels.
SEARCHED_SIDE = 256
#: Least side of a face, as a part of the picture's shorter side.
LEAST_FACE = 0.15
# Overlapping finds that a face must have, by the cascade that looks for it.
_FRONT, _FRONT_FINDS = "haarcascade_frontalface_alt2.xml", 8
_SIDE, _SIDE_FINDS = "haarcascade_profileface.xml", 6
# A frontal face must also be found by this other cascade, and when it is mirrored: faces are nearly
# symmetric. With five finds of the first alone, 2 of 1,255 dermoscopy images were called faces.
_SECOND, _SECOND_FINDS = "haarcascade_frontalface_default.xml", 5
# The part around a find that is looked at again, in sides of its box.
_MARGIN = 0.5
# The cascades were trained on windows of this many pixels.
_WINDOW = 24


def find_faces(image: npt.NDArray[np.uint8]) -> list[list[int]]:
    """Return the boxes of faces in an (H, W, 3) uint8 RGB image.

    Returns
    -------
    list of [y0, x0, y1, x1]
        In pixels of the image, half-open; frontal faces first.
    """
    full = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, SEARCHED_SIDE / max(full.shape))
    if scale < 1:
        full = cv2.resize(full, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    grey = np.asarray(full, np.uint8)
    least = max(_WINDOW, round(LEAST_FACE * min(grey.shape)))
    if min(grey.shape) < least:
        return []
    width = grey.shape[1]
    boxes = [box for box in _boxes(_FRONT, grey, _FRONT_FINDS, least) if _is_face(grey, box)]
    boxes += _boxes(_SIDE, grey, _SIDE_FINDS, least)
    # The side cascade knows faces that look to one side alone.
    swapped = _boxes(_SIDE, np.ascontiguousarray(grey[:, ::-1]), _SIDE_FINDS, least)
    boxes += [(width - x - w, y, w, h) for x, y, w, h in swapped]
    found: list[list[int]] = []
    for x, y, w, h in boxes:
        box = [round(edge / scale) for edge in (y, x, y + h, x + w)]
        if not any(_overlap(box, other) for other in found):
            found.append(box)
    return found


def _is_face(grey: npt.NDArray[np.uint8], box: Box) -> bool:
    """Whether a find stands up to a second cascade, and to the first one in the mirror."""
    x, y, w, h = box
    dx, dy = round(_MARGIN * w), round(_MARGIN * h)
    around = grey[max(0, y - dy) : y + h + dy, max(0, x - dx) : x + w + dx]
    least = max(_WINDOW, round(0.6 * min(w, h)))
    mirrored = np.ascontiguousarray(around[:, ::-1])
    return bool(
        _boxes(_SECOND, np.ascontiguousarray(around), _SECOND_FINDS, least)
        and _boxes(_FRONT, mirrored, _SECOND_FINDS, least)
    )


def _boxes(name: str, grey: npt.NDArray[np.uint8], neighbours: int, least: int) -> list[Box]:
    """Return (x, y, width, height) of what a cascade finds."""
    found = _cascade(name).detectMultiScale(grey, 1.1, neighbours, minSize=(least, least))
    return [(int(x), int(y), int(w), int(h)) for x, y, w, h in found]


@functools.cache
def _cascade(name: str) -> cv2.CascadeClassifier:
    cascade = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / name))
    if cascade.empty():
        raise LesionError(
            f"OpenCV {cv2.__version__} came without {name}",
            wanted="OpenCV 4, which brings it",
            mend="pip install 'opencv-python-headless>=4.10,<5', or --skip faces",
        )
    return cascade


def _overlap(a: list[int], b: list[int]) -> bool:
    return max(a[0], b[0]) < min(a[2], b[2]) and max(a[1], b[1]) < min(a[3], b[3])
