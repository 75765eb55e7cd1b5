"""Synthetic lesions among the rows that a member learns from, never among those that judge it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clsstage.examples import Examples, with_labels
from lesioncore.progress import log


def with_synthetic(examples: Examples, folders: Sequence[Path]) -> tuple[Examples, dict[str, str]]:
    """Return a member's training rows with the synthetic ones it may use, and their mask files.

    Parameters
    ----------
    examples : Examples
        The member's real training rows; an image with a parent elsewhere is left out.
    folders : sequence of Path
        Each made by `lesion synthesize`.

    Returns
    -------
    Examples
        The real rows first.
    dict of str to str
        Image id to mask file of the synthetic rows.

    Raises
    ------
    LesionError
        As `lesioncore.synthetic.load_synthetic`.
    """
    import pandas as pd

    from lesioncore.synthetic import load_synthetic, usable

    ids = examples.manifest["image_id"].tolist()
    parts, masks = [examples], {}
    for folder in folders:
        table = load_synthetic(folder)
        kept = usable(table, ids)
        log.info(
            "%s: %d of %d synthetic images have all parents here", folder, kept.sum(), len(kept)
        )
        drawn = with_labels(table[kept].reset_index(drop=True), examples.policy)
        parts.append(drawn)
        masks |= dict(zip(drawn.manifest["image_id"], drawn.manifest["mask"], strict=True))
    manifest = pd.concat([part.manifest for part in parts], ignore_index=True)
    labels = np.concatenate([part.labels for part in parts])
    return Examples(manifest, labels, examples.policy), masks
