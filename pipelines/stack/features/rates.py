"""Categories as the rate of malignant lesions among the training lesions of each, in log-odds.

The rate of a training row never counts its own label: it is that of the other folds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

#: Text columns of a manifest that become rates.
CATEGORIES = ("site", "tbp_lv_location", "tbp_lv_location_simple", "tbp_tile_type")
#: Lesions at the rate of all by which that of a category is steadied.
STEADY = 20.0
_MISSING = "(missing)"


@dataclass(frozen=True)
class Rates:
    """Log-odds of malignancy of each value of a column; others have those of all lesions."""

    column: str
    by_value: Mapping[str, float]
    overall: float

    @classmethod
    def fit(cls, column: str, values: pd.Series, labels: Array) -> Rates:
        """Return the steadied rates of the training rows."""
        import pandas as pd

        words = _words(values)
        overall = (labels.sum() + 0.5) / (len(labels) + 1)
        counts = pd.DataFrame({"word": words, "label": labels}).groupby("word")["label"]
        rate = (counts.sum() + STEADY * overall) / (counts.size() + STEADY)
        logit = np.log(rate / (1 - rate))
        return cls(
            column,
            {str(word): float(value) for word, value in logit.items()},
            float(np.log(overall / (1 - overall))),
        )

    def encode(self, values: pd.Series) -> Array:
        """Return the log-odds of each row, (n,) float64."""
        found = _words(values).map(dict(self.by_value)).fillna(self.overall)
        return np.asarray(found, np.float64)


def cross_fitted(column: str, values: pd.Series, labels: Array, folds: NDArray[np.int64]) -> Array:
    """Return the log-odds of each training row (n,), by the rates of the folds it is not in."""
    found = np.empty(len(values))
    for fold in np.unique(folds):
        own = folds == fold
        found[own] = Rates.fit(column, values[~own], labels[~own]).encode(values[own])
    return found


def _words(values: pd.Series) -> pd.Series:
    return values.astype(object).where(values.notna(), _MISSING).astype(str)
