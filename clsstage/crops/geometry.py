"""How much of an image a crop keeps, and at what size: all that focus and jitter can ask for."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from clsstage.focus import focus_box
from clsstage.focus_names import parse_focus
from clsstage.mask_jitter import GROWTH, SHIFT
from lesioncore.geometry import Box

# Raised when the same settings would keep other pixels; part of every fingerprint.
VERSION = 1
# Pixels of the undisturbed frame for each of the network's input. At 1 it is not resampled again
# after reading; an augmentation before the resize needs something to work on.
HEADROOM = {"early": 1.0, "late": 1.5}
# Frames are rounded to whole pixels on the image and on the crop; this much is kept beside them.
_ROUNDING = 2


@dataclass(frozen=True)
class CropGeometry:
    """What crops are made for.

    Parameters
    ----------
    frame : str
        `full`, `crop` or `dilated_crop`.
    margin : float
        Border of the frame, as a part of the lesion's longer side.
    jitter : float
        By which part of the margin training varies it, and moves the frame; 0 to 1.
    mask_errors : bool
        Training disturbs masks too (`clsstage.mask_jitter`): frames of wrong boxes are kept, and
        beside the crop the whole image, for the masks that are left out.
    size : int
        Side of the largest input that is to be served, pixels.
    headroom : float
        Pixels of the undisturbed frame for each pixel of that input, along each axis.
    version : int
        Of the algorithm.
    """

    frame: str
    margin: float
    jitter: float
    mask_errors: bool
    size: int
    headroom: float = HEADROOM["early"]
    version: int = VERSION

    @classmethod
    def of(
        cls,
        focus: str,
        margin: float,
        size: int,
        jitter: float = 0.0,
        mask_errors: bool = False,
        resize: str = "early",
    ) -> CropGeometry:
        """Return the geometry that serves a focus.

        What the focus does around the lesion plays no part: it acts after reading. `resize` is
        `early`, before the augmentation, or `late`, after it.
        """
        frame, headroom = parse_focus(focus).frame, HEADROOM[resize]
        if frame == "full":
            return cls("full", 0.0, 0.0, False, size, headroom)
        return cls(frame, margin, jitter, mask_errors, size, headroom)

    def scale(self, box: Box | None, shape: tuple[int, int]) -> float:
        """Return crop pixels per image pixel, at most 1.

        Parameters
        ----------
        box : (y0, x0, y1, x1) or None
            Of the lesion, in image pixels; None where the image is seen whole.
        shape : (H, W)
            Of the image.
        """
        y0, x0, y1, x1 = self._frame(box, shape, self.margin)
        return min(1.0, self.headroom * self.size / min(y1 - y0, x1 - x0))

    def region(self, box: Box | None, shape: tuple[int, int]) -> Box:
        """Return the part of the image to keep: the union of all frames that may be asked for.

        A frame found on the kept part is then the one found on the image: the part ends where the
        image ends or beyond the reach of every frame, and it starts at an even row and column,
        since halves are rounded to even.
        """
        height, width = shape
        most = self.margin * (1.0 + self.jitter)
        shift = 0.5 * self.jitter * most / (1.0 + 2.0 * most)
        spare = _ROUNDING * (1.0 + 1.0 / self.scale(box, shape))
        if box is not None and self.mask_errors:
            side = max(box[2] - box[0], box[3] - box[1])
            spare += SHIFT * side
            box = _grown(box, math.ceil((GROWTH + SHIFT) * side), shape)
        y0, x0, y1, x1 = self._frame(box, shape, most)
        down, across = (math.ceil(shift * side + spare) for side in (y1 - y0, x1 - x0))
        top, left = max(0, y0 - down), max(0, x0 - across)
        return top - top % 2, left - left % 2, min(height, y1 + down), min(width, x1 + across)

    def _frame(self, box: Box | None, shape: tuple[int, int], margin: float) -> Box:
        if box is None:
            return 0, 0, shape[0], shape[1]
        return focus_box(box, shape, self.frame, margin=margin)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a fingerprint."""
        return asdict(self)


def _grown(box: Box, by: int, shape: tuple[int, int]) -> Box:
    y0, x0, y1, x1 = box
    return max(0, y0 - by), max(0, x0 - by), min(shape[0], y1 + by), min(shape[1], x1 + by)
