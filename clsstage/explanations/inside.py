"""How much of the evidence lies on the lesion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Inside:
    """Shares of a picture that lie inside a mask.

    Attributes
    ----------
    evidence : float
        Of the evidence, 0 to 1; NaN where there is none.
    area : float
        Of the picture, 0 to 1: what an even spread of evidence would give.
    """

    evidence: float
    area: float


def inside(heat: npt.ArrayLike, mask: npt.ArrayLike) -> Inside:
    """Return how much evidence and area lie inside a mask.

    Parameters
    ----------
    heat : (S, S) float
        Evidence, 0 or more.
    mask : (S, S) float
        Soft or binary mask in the pixels of the heat, 0 to 1.
    """
    weight, lesion = np.asarray(heat, np.float64), np.asarray(mask, np.float64)
    total = float(weight.sum())
    share = float((weight * lesion).sum() / total) if total > 0 else float("nan")
    return Inside(share, float(lesion.mean()))
