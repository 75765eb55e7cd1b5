"""Synthetic lesions among the rows that a member learns from, never among those that judge it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clsstage.examples import Examples, with_labels
from lesioncore.errors import LesionError
from lesioncore.files import sha256_bytes, sha256_file
from lesioncore.progress import log

if TYPE_CHECKING:
    import pandas as pd

#: What a synthetic row never takes from a real one.
_OWN = ("image_id", "image", "mask", "patient_id", "lesion_id", "target")


def with_synthetic(examples: Examples, folders: Sequence[Path]) -> tuple[Examples, dict[str, str]]:
    """Return a member's training rows with the synthetic ones it may use, and their mask files.

    What a synthetic row does not know of its person and lesion is that of its donor, or of a real
    malignant row of the same diagnosis: left missing, it would give the answer away.

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
    parts = [examples]
    masks: dict[str, str] = {}
    for folder in folders:
        table = load_synthetic(folder)
        # Folders of several folds made with one seed use the same names for other images.
        again = table["image_id"].isin(masks)
        table.loc[again, "image_id"] += f" of {folder.absolute()}"
        kept = usable(table, ids)
        log.info(
            "%s: %d of %d synthetic images have all parents here", folder, kept.sum(), len(kept)
        )
        drawn = with_labels(table[kept].reset_index(drop=True), examples.policy)
        if len(drawn):
            filled = _with_known(drawn, examples)
            drawn = Examples(filled, drawn.labels, drawn.policy)
        parts.append(drawn)
        masks |= dict(zip(drawn.manifest["image_id"], drawn.manifest["mask"], strict=True))
    manifest = pd.concat([part.manifest for part in parts], ignore_index=True)
    labels = np.concatenate([part.labels for part in parts])
    return Examples(manifest, labels, examples.policy), masks


def _with_known(drawn: Examples, examples: Examples) -> pd.DataFrame:
    """Return synthetic rows with what they lack, and their archive, taken from real rows.

    Those are of the same label, which under a narrow policy may be benign.
    """
    import pandas as pd

    real, table = examples.manifest.reset_index(drop=True), drawn.manifest
    place = pd.Series(real.index, index=real["image_id"])
    rows = []
    for row, label in zip(table.itertuples(), drawn.labels, strict=True):
        same = examples.labels == label
        donor = place.get(row.parent_donor)
        if donor is None or not same[donor]:
            alike = np.flatnonzero((real["diagnosis"] == row.diagnosis).to_numpy(bool) & same)
            choices = alike if len(alike) else np.flatnonzero(same)
            # The name decides, so that every member and every run takes the same.
            donor = choices[int(sha256_bytes(str(row.image_id).encode())[:8], 16) % len(choices)]
        rows.append(int(donor))
    donors = real.iloc[rows].reset_index(drop=True)
    filled = table.copy()
    for name in donors.columns.difference(list(_OWN)):
        filled[name] = donors[name] if name not in filled else filled[name].fillna(donors[name])
    # As a token of the archive, "synthetic" would mean malignant.
    filled["source"] = donors["source"]
    return filled


def synthetic_digests(folders: Sequence[Path]) -> list[str]:
    """Return the SHA-256 of the manifest of each folder, which names its images and parents.

    Raises
    ------
    LesionError
        A folder without a manifest.
    """
    from lesioncore.synthetic import MANIFEST

    for folder in folders:
        if not (folder / MANIFEST).is_file():
            raise LesionError(
                f"{folder} holds no synthetic images",
                wanted=f"a folder with {MANIFEST}",
                mend="lesion synthesize makes such a folder",
            )
    return [sha256_file(folder / MANIFEST) for folder in folders]


def check_digests(pinned: Sequence[str], folders: Sequence[Path]) -> None:
    """Refuse to go on with a run whose synthetic images have changed since it began.

    Raises
    ------
    LesionError
        Naming the first folder that differs.
    """
    for old, new, folder in zip(pinned, synthetic_digests(folders), folders, strict=True):
        if old != new:
            raise LesionError(
                f"the synthetic images in {folder} changed since this run began",
                wanted="those that the run was started with",
                mend="train into a new --out, or bring the earlier folder back",
            )
