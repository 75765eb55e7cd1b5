"""Which tile of a stand-in shows what: every choice follows from seed, patients and number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lesioncore.errors import UsageError

#: ISIC 2024 has 393 malignant lesions among 401,059.
PREVALENCE = 393 / 401_059
#: Numbers that are drawn, encoded and kept together.
BLOCK = 4096
#: Distinct pictures that a patient's tiles are derived from.
LESIONS = 4
#: Sides of the tiles in pixels; the official ones are odd too, and about 131 on average.
SMALLEST, LARGEST = 91, 157
_MOST = 9_999_999  # what seven digits of an id can count
_SPREAD = 1.1  # of the logarithm of a patient's share: a few have thousands of lesions


class Draws(NamedTuple):
    """Choices of one block of tiles, all of length (count,) unless said.

    Attributes
    ----------
    patient : int64
        From 0.
    lesion : int64
        Which of the patient's pictures, 0 to LESIONS - 1.
    turn : int64
        0 to 7: quarter turns, from 4 on mirrored.
    side : int64
        Of the tile in pixels.
    shift : (count, 2) float64
        Of the crop from the lesion's centre (y, x), -1 to 1.
    gains : (count, 3) float64
        Factors on blue, green, red.
    luck : float64
        Gumbel noise that decides who is malignant.
    """

    patient: npt.NDArray[np.int64]
    lesion: npt.NDArray[np.int64]
    turn: npt.NDArray[np.int64]
    side: npt.NDArray[np.int64]
    shift: npt.NDArray[np.float64]
    gains: npt.NDArray[np.float64]
    luck: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """What a stand-in is made of.

    Attributes
    ----------
    n : int
        Number of tiles.
    patients : int
        Each has at least one tile.
    seed : int
        From 0.
    prevalence : float
        Part of the tiles that are malignant, in (0, 1).
    """

    n: int
    patients: int
    seed: int = 0
    prevalence: float = PREVALENCE

    def __post_init__(self) -> None:
        if not 2 <= self.n <= _MOST:
            raise UsageError(f"--n is {self.n}", wanted=f"2 to {_MOST} tiles for a stand-in")
        if not 1 <= self.patients <= self.n:
            raise UsageError(
                f"--patients is {self.patients} for {self.n} tiles",
                wanted="from 1 to as many patients as there are tiles (--n)",
                mend="--n 401059 --patients 1042 is the size of ISIC 2024",
            )
        if self.seed < 0:
            raise UsageError(f"--seed is {self.seed}", wanted="a number from 0")
        if not 0.0 < self.prevalence < 1.0:
            raise UsageError(f"a prevalence of {self.prevalence}", wanted="between 0 and 1")

    @property
    def blocks(self) -> range:
        """Numbers of the blocks."""
        return range(-(-self.n // BLOCK))

    @property
    def positives(self) -> int:
        """How many tiles are malignant: the prevalence of n, but never none and never all."""
        return min(max(1, round(self.n * self.prevalence)), self.n - 1)

    def count(self, block: int) -> int:
        """Return how many tiles a block has: only the last may have fewer than BLOCK."""
        return min(BLOCK, self.n - block * BLOCK)

    def draws(self, block: int) -> Draws:
        """Return the choices of a block's tiles.

        A block is always drawn whole, so that more tiles (`n`) leave the earlier ones as they are.
        """
        rng = np.random.default_rng([self.seed, 21, block])
        count = self.count(block)
        patient = np.searchsorted(self._shares(), rng.random(BLOCK), side="right")
        numbers = np.arange(BLOCK) + block * BLOCK
        # The first numbers go round all patients: nobody is left without a lesion.
        first = numbers < self.patients
        patient[first] = self._order()[numbers[first]]
        lesion = rng.integers(0, LESIONS, BLOCK)
        turn = rng.integers(0, 8, BLOCK)
        side = SMALLEST + 2 * np.rint((LARGEST - SMALLEST) // 2 * rng.beta(3.0, 2.0, BLOCK))
        shift = rng.uniform(-1.0, 1.0, (BLOCK, 2))
        light = rng.normal(0.0, 0.07, (BLOCK, 1)) + rng.normal(0.0, 0.02, (BLOCK, 3))
        luck = rng.gumbel(size=BLOCK)
        return Draws(
            patient=patient[:count].astype(np.int64),
            lesion=lesion[:count],
            turn=turn[:count],
            side=side[:count].astype(np.int64),
            shift=shift[:count],
            gains=np.exp(light[:count]),
            luck=luck[:count],
        )

    def targets(self, log_odds: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Return 1 malignant or 0 for each tile (n,), drawn without replacement by the odds.

        Parameters
        ----------
        log_odds : (patients * LESIONS,) float32
            Of malignancy, of the pictures that the tiles are derived from.
        """
        keys = np.empty(self.n)
        for block in self.blocks:
            draws = self.draws(block)
            start = block * BLOCK
            rows = draws.patient * LESIONS + draws.lesion
            keys[start : start + len(rows)] = log_odds[rows] + draws.luck
        targets = np.zeros(self.n, np.int64)
        targets[np.argsort(-keys, kind="stable")[: self.positives]] = 1
        return targets

    def _shares(self) -> npt.NDArray[np.float64]:
        rng = np.random.default_rng([self.seed, 22])
        shares = np.cumsum(rng.lognormal(0.0, _SPREAD, self.patients))
        shares /= shares[-1]
        shares[-1] = 1.0  # a rounded sum must not leave a gap at the end
        return shares

    def _order(self) -> npt.NDArray[np.int64]:
        return np.random.default_rng([self.seed, 23]).permutation(self.patients)


def tile_id(number: int) -> str:
    """Return the id of a tile; it says phantom, and is no id of a folder of phantoms."""
    return f"PHANTOM_TILE_{number:07d}"
