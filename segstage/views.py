"""Test-time augmentation: a network sees mirrored and turned views, and its maps are turned back.

A lesion has no top and no left, so each view is as good a picture of it as the original.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lesioncore.errors import unknown_name


@dataclass(frozen=True)
class View:
    """A mirrored or turned picture: first transposed, then mirrored along these axes.

    Attributes
    ----------
    transpose : bool
        Rows become columns.
    mirror : tuple of int
        Axes counted from the last: -2 is up and down, -1 left and right.
    """

    transpose: bool = False
    mirror: tuple[int, ...] = ()

    def of(self, images: Tensor) -> Tensor:
        """Return this view of square (..., S, S) images."""
        turned = images.transpose(-1, -2) if self.transpose else images
        return turned.flip(self.mirror) if self.mirror else turned

    def back(self, maps: Tensor) -> Tensor:
        """Return (..., S, S) maps of this view as maps of the picture: the inverse of `of`."""
        mirrored = maps.flip(self.mirror) if self.mirror else maps
        return mirrored.transpose(-1, -2) if self.transpose else mirrored


_MIRRORS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
_FLIPS = tuple(View(False, mirror) for mirror in _MIRRORS)

#: Name to views. `flips` are the four mirrorings, `d4` all eight symmetries of the square.
VIEWS: dict[str, tuple[View, ...]] = {
    "none": (View(),),
    "flips": _FLIPS,
    "d4": _FLIPS + tuple(View(True, mirror) for mirror in _MIRRORS),
}


def views_of(name: str) -> tuple[View, ...]:
    """Return the views of a test-time augmentation; an unknown name lists the known."""
    if name not in VIEWS:
        raise unknown_name("test-time augmentation", name, VIEWS)
    return VIEWS[name]


def at_size(maps: Tensor, size: int) -> Tensor:
    """Return (B, s, s) float maps at (B, size, size), by linear interpolation."""
    if maps.shape[-1] == size:
        return maps
    return torch.nn.functional.interpolate(maps[:, None], (size, size), mode="bilinear")[:, 0]


def disagreement(maps: Sequence[Tensor]) -> Tensor | None:
    """Return how far several maps of the same pictures lie apart: 1 minus their mean Dice.

    The Dice of two soft maps is ``2 sum(min(p, q)) / (sum(p) + sum(q))``, 1 for two maps without
    any probability; the mean runs over all pairs of maps. The maps are taken in 8 bits, so that
    what rounds to nothing counts as nothing.

    Parameters
    ----------
    maps : sequence of (B, S, S) float
        Probabilities in [0, 1], a member's view each.

    Returns
    -------
    (B,) float64 in [0, 1], on the CPU; None for fewer than two maps.
    """
    if len(maps) < 2:
        return None
    voters = [one.mul(255).round_().to(torch.uint8).flatten(1) for one in maps]
    sums = [one.sum(dim=1, dtype=torch.int64).double() for one in voters]
    total = torch.zeros(len(voters[0]), dtype=torch.float64, device=voters[0].device)
    pairs = 0
    for first in range(len(voters)):
        for second in range(first + 1, len(voters)):
            shared = torch.minimum(voters[first], voters[second]).sum(dim=1, dtype=torch.int64)
            both = sums[first] + sums[second]
            dice = torch.where(both > 0, 2 * shared.double() / both.clamp(min=1), 1.0)
            total += 1 - dice
            pairs += 1
    return (total / pairs).clamp(0, 1).cpu()
