"""The rows that a training or a scoring uses: a manifest with labels under a policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clsstage.shortcuts import warn_of_shortcuts, with_shortcuts
from lesioncore.config import DataOptions
from lesioncore.progress import log

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Examples:
    """Labelled rows.

    Attributes
    ----------
    manifest : DataFrame
        Rows with a known label.
    labels : (n,) float64
        1 malignant, 0 benign.
    policy : str
        What counts as malignant.
    """

    manifest: pd.DataFrame
    labels: NDArray[np.float64]
    policy: str

    def take(self, image_ids: list[str]) -> Examples:
        """Return the examples of these images, in their order."""
        import pandas as pd

        rows = pd.Index(self.manifest["image_id"]).get_indexer(pd.Index(image_ids))
        chosen = self.manifest.iloc[rows].reset_index(drop=True)
        return Examples(chosen, self.labels[rows], self.policy)

    def where(self, kept: NDArray[np.bool_]) -> Examples:
        """Return the examples for which `kept`, (n,) bool, is True."""
        chosen = self.manifest[kept].reset_index(drop=True)
        return Examples(chosen, self.labels[kept], self.policy)

    def __len__(self) -> int:
        return len(self.labels)


def load_examples(
    options: DataOptions, policy: str, *, seed: int = 0, metadata: Sequence[str] | None = None
) -> Examples:
    """Return the labelled rows of the archives of a command.

    Rows without a label are counted in the log. The policy is the first archive's, for all of them.
    Shortcut columns that `metadata` names (`clsstage.shortcuts`) are made of the whole archives.

    Raises
    ------
    LesionError
        As the reader, or a policy that the archive has no labels for.
    """
    from lesioncore.archives import load_archives
    from lesioncore.readers import policy_of

    warn_of_shortcuts(metadata)
    manifest = with_shortcuts(load_archives(options, seed=seed), metadata)
    examples = with_labels(manifest, policy_of(options.dataset, policy))
    lost = sorted(set(manifest["source"].dropna()) - set(examples.manifest["source"].dropna()))
    if lost and len(examples):
        log.warning(
            "%s: no image has a label under the policy %r, so nothing is learned from there "
            "(another --policy takes labels from diagnoses)",
            ", ".join(lost),
            examples.policy,
        )
    return examples


def with_labels(manifest: pd.DataFrame, policy: str) -> Examples:
    """Return the rows of a manifest whose label is known under a policy."""
    from lesioncore.diagnoses import labels

    found = labels(manifest, policy)
    known = ~np.isnan(found)
    if not known.all():
        log.info(
            "%d of %d images have no label under the policy %r and are left out",
            int((~known).sum()),
            len(known),
            policy,
        )
    return Examples(manifest, found, policy).where(known)
