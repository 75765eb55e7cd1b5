"""Hard negatives: an epoch shows again the benign images that the last one found most malignant.

The logits of the training steps themselves are the measure, so a refresh costs no extra pass. They
are kept in a small file an epoch: a run that goes on draws what an unbroken one would have.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from clsstage.sampling import ClassSampling
from lesioncore.files import atomic_path
from lesioncore.loading import EpochSampler


class HardNegatives:
    """The last known logit of malignancy of each training row.

    Parameters
    ----------
    folder : Path
        Of the member; gets ``hardness-EPOCH.npy``, the last two of them.
    count : int
        Training rows.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.logits = np.full(count, np.nan, np.float32)

    def record(self, rows: Tensor, logits: Tensor) -> None:
        """Note the logits (B,) of some rows (B,)."""
        self.logits[rows.cpu().numpy()] = logits.float().cpu().numpy()

    def save(self, epoch: int) -> None:
        """Keep the logits as they are after `epoch`."""
        with atomic_path(self._file(epoch)) as temporary, temporary.open("wb") as handle:
            np.save(handle, self.logits)
        self._file(epoch - 2).unlink(missing_ok=True)

    def after(self, epoch: int) -> NDArray[np.float32]:
        """Return the logits after `epoch`; all NaN where there was no such epoch."""
        path = self._file(epoch)
        if epoch < 0 or not path.is_file():
            return np.full_like(self.logits, np.nan)
        # What was learned in earlier epochs is noted again, for a run that goes on.
        self.logits = np.load(path, allow_pickle=False)
        return self.logits.copy()

    def forget(self) -> None:
        """Remove the files of a finished training."""
        for path in self.folder.glob("hardness-*.npy"):
            path.unlink()

    def _file(self, epoch: int) -> Path:
        return self.folder / f"hardness-{epoch}.npy"


class HardNegativeSampler(EpochSampler):
    """Draws an epoch's rows, a part of the benign ones by hardness.

    Parameters
    ----------
    sampling : ClassSampling
    labels : (n,) float
    hard : HardNegatives
    part : float
        Of the benign rows, how many are the hardest known; 0 to 1.
    seed : int
    """

    def __init__(
        self,
        sampling: ClassSampling,
        labels: NDArray[np.floating],
        hard: HardNegatives,
        part: float,
        seed: int,
    ) -> None:
        self._hardness = np.full(len(labels), np.nan, np.float32)
        self._hard = hard
        super().__init__(lambda rng: sampling.rows(labels, rng, self._hardness, part), seed)

    def set_epoch(self, epoch: int) -> None:
        """Draw the rows of `epoch` by what is known after the one before it."""
        self._hardness = self._hard.after(epoch - 1)
        super().set_epoch(epoch)
