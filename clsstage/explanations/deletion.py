"""The deletion check: does the answer fall when the evidence is taken away?

Petsiuk, Das and Saenko: RISE: Randomized Input Sampling for Explanation of Black-box Models, BMVC
2018, arXiv 1806.07421. Places are blurred away, strongest evidence first; a map that shows what the
network uses makes the answer fall sooner than the same places in a random order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from torch import Tensor

from clsstage.members import Member

STEPS = 12
RANDOM_ORDERS = 4
_BLOCKS = 16  # cells on a side that are deleted as wholes: single pixels are no lesion part


@dataclass(frozen=True)
class Deletion:
    """What is left of the answer as more of the picture is blurred away.

    Attributes
    ----------
    removed : (STEPS + 1,) float64
        Part of the picture that is gone, 0 to 1.
    by_evidence, by_chance : (STEPS + 1,) float64
        Log-odds of malignancy, strongest evidence first, and the mean of random orders.
    """

    removed: NDArray[np.float64]
    by_evidence: NDArray[np.float64]
    by_chance: NDArray[np.float64]

    @property
    def gain(self) -> float:
        """Mean log-odds by which the answer falls further than by chance; above 0 is faithful."""
        gap = self.by_chance - self.by_evidence
        return float(trapezoid(gap, self.removed))


@torch.inference_mode()
def deletion(
    member: Member, image: Tensor, metadata: Tensor, heat: Tensor, *, seed: int = 0
) -> Deletion:
    """Return the deletion curves of one image.

    Parameters
    ----------
    member : Member
    image : (1, planes, S, S) float32
        Planes beyond the third (a mask) are left as they are.
    metadata : (1, width) float32
    heat : (S, S) float32
        Evidence, see `evidence`.
    seed : int
        Of the random orders.
    """
    side = int(image.shape[2])
    cells = F.adaptive_avg_pool2d(heat[None, None].float(), _BLOCKS)[0, 0].flatten().cpu().numpy()
    rng = np.random.default_rng(seed)
    # Ties, such as the places without any evidence, fall in a random order, not row by row.
    shuffled = rng.permutation(len(cells))
    orders = [shuffled[np.argsort(-cells[shuffled], kind="stable")]]
    orders += [rng.permutation(len(cells)) for _ in range(RANDOM_ORDERS)]
    blurred = _blurred(image[:, :3])
    counts = np.linspace(0, len(cells), STEPS + 1).round().astype(int)
    curves = []
    for order in orders:
        gone = np.zeros((len(counts), len(cells)), np.float32)
        for step, count in enumerate(counts):
            gone[step, order[:count]] = 1
        grid = torch.from_numpy(gone).reshape(-1, 1, _BLOCKS, _BLOCKS)
        part = F.interpolate(grid, size=(side, side), mode="nearest").to(image.device)
        pictures = image[:, :3] * (1 - part) + blurred * part
        planes = image[:, 3:].expand(len(counts), -1, -1, -1)
        outputs = member.outputs(
            torch.cat([pictures, planes], 1), metadata.expand(len(counts), -1), 1
        )
        curves.append(member.target.logit(outputs).double().numpy())
    return Deletion(counts / len(cells), curves[0], np.mean(curves[1:], axis=0))


def _blurred(image: Tensor) -> Tensor:
    """Return an image (1, 3, S, S) without detail: its colours in a few soft patches."""
    small = F.adaptive_avg_pool2d(image, 3)
    return F.interpolate(small, size=image.shape[2:], mode="bilinear", align_corners=False)
