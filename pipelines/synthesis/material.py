"""What images are made of: the training images of one fold and their trusted masks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lesioncore.errors import LesionError
from lesioncore.files import sha256_json
from lesioncore.images import read_image, read_mask
from lesioncore.progress import log, track
from pipelines.synthesis.transplant import Lesion

if TYPE_CHECKING:
    import pandas as pd

    from lesioncore.cache import MaskCache
    from pipelines.synthesis_config import SynthesizeConfig

#: A recipient's lesion may cover this part of its picture; beyond, too little skin is left.
MAX_RECIPIENT_SHARE = 0.35


@dataclass(frozen=True)
class Material:
    """Training images of one fold.

    Attributes
    ----------
    rows : DataFrame
        The manifest's rows with a label, and `group` (of the split), `malignant` (1 or 0),
        `trusted` (whether the mask is used), `reason` (why not), `share` (part of the picture that
        the lesion covers) and `touches` (the lesion reaches the picture's border).
    cache : MaskCache or None
        None: masks are the files that the manifest names.
    training_ids : list of str
        All training ids of the fold.
    policy : str
    masks : str
        Digest of the masks, for the record.
    """

    rows: pd.DataFrame
    cache: MaskCache | None
    training_ids: list[str]
    policy: str
    masks: str

    def lesion(self, image_id: str) -> Lesion:
        """Return the photograph and the mask of a training image.

        Raises
        ------
        LesionError
            It is no training image of this fold, or cannot be read.
        """
        at = self._places.get(image_id)
        if at is None:
            raise LesionError(f"{image_id} is no training image of this fold")
        row = self.rows.iloc[at]
        image = read_image(str(row["image"]))
        if self.cache is None:
            return Lesion(image, read_mask(str(row["mask"]), image.shape[:2]))
        mask = self.cache.read(image_id).mask()
        if mask.shape != image.shape[:2]:
            raise LesionError(f"the mask of {image_id} is of an image of another size")
        return Lesion(image, mask)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {str(name): at for at, name in enumerate(self.rows["image_id"])}

    @property
    def donors(self) -> pd.DataFrame:
        """Malignant rows whose whole lesion is known."""
        rows = self.rows
        return rows[(rows["malignant"] == 1) & rows["trusted"] & ~rows["touches"]]

    @property
    def recipients(self) -> pd.DataFrame:
        """Benign rows with enough skin."""
        rows = self.rows
        kept = (rows["malignant"] == 0) & rows["trusted"] & ~rows["touches"]
        return rows[kept & (rows["share"] <= MAX_RECIPIENT_SHARE)]

    @property
    def digest(self) -> str:
        """SHA-256 of the training ids and labels."""
        labels = self.rows[["image_id", "malignant"]].astype(str).to_numpy().tolist()
        return sha256_json([sorted(self.training_ids), sorted(labels)])

    def counts(self) -> dict[str, int]:
        """Return how many images there are of each kind."""
        malignant = self.rows["malignant"] == 1
        return {
            "training images": len(self.training_ids),
            "with a label": len(self.rows),
            "malignant": int(malignant.sum()),
            "with a trusted mask": int(self.rows["trusted"].sum()),
            "donors": len(self.donors),
            "recipients": len(self.recipients),
        }


def load_material(config: SynthesizeConfig) -> Material:
    """Return the training images that a command names; no other row leaves this function.

    Raises
    ------
    LesionError
        The split is of another archive, or no mask of a training image is trusted.
    """
    from lesioncore.config import DataOptions
    from lesioncore.readers import load_manifest, policy_of
    from lesioncore.splits import member_ids, read_split

    path = config.split / "split.csv" if config.split.is_dir() else config.split
    split = read_split(path)
    training, _ = member_ids(split, config.fold)
    options = DataOptions(
        dataset=config.dataset, root=config.root, columns=config.columns, split=config.part
    )
    manifest = load_manifest(options, seed=config.seed)
    rows = manifest[manifest["image_id"].isin(training)].reset_index(drop=True)
    if rows.empty:
        raise LesionError(
            f"none of the {len(training)} training images of {path} is in {config.dataset} "
            f"({len(manifest)} images; first of the split: {training[0]})",
            wanted="the split of a run on this archive",
            mend="--split RUN/split.csv of a clsstage or segstage training on this --dataset",
        )
    if len(rows) < len(training):
        log.warning(
            "%d of the %d training images of %s are not in %s",
            len(training) - len(rows), len(training), path, config.dataset,
        )  # fmt: skip
    rows = rows.assign(group=split.set_index("image_id")["group"].reindex(rows["image_id"]).array)
    policy = policy_of(config.dataset, config.policy)
    rows = _labelled(rows, policy)
    cache, rows, masks = _with_masks(config, rows)
    if not rows["trusted"].any():
        why = rows["reason"].value_counts()
        raise LesionError(
            f"none of the {len(rows)} training images has a mask that can be trusted"
            + (f" ({why.iloc[0]}: {why.index[0]})" if len(why) else ""),
            wanted="masks of the archive, or a mask cache (ok or edited, of quality "
            f"{config.min_quality:g} or more)",
            mend="segstage cache ... --out cache/, then --masks cache/; or a lower --min-quality",
        )
    return Material(rows, cache, training, policy, masks)


def _labelled(rows: pd.DataFrame, policy: str) -> pd.DataFrame:
    from lesioncore.diagnoses import labels

    found = labels(rows, policy)
    known = ~np.isnan(found)
    if not known.all():
        log.info("%d training images have no label under %r", int((~known).sum()), policy)
    return rows.assign(malignant=found)[known].reset_index(drop=True)


def _with_masks(
    config: SynthesizeConfig, rows: pd.DataFrame
) -> tuple[MaskCache | None, pd.DataFrame, str]:
    if config.masks is None:
        rows = rows.assign(**_judged_files(rows))
        masks = rows.loc[rows["trusted"], ["image_id", "share"]].to_numpy().tolist()
        return None, rows, sha256_json(masks)
    from lesioncore.cache import MaskCache

    cache = MaskCache(config.masks)
    table = cache.table().set_index("image_id").reindex(rows["image_id"])
    keys = table[["image_sha256", "revision"]].astype(str)
    digest = sha256_json([cache.fingerprint, list(keys.itertuples(name=None))])
    return cache, rows.assign(**_judged_rows(table, config.min_quality)), digest


def _judged_rows(table: pd.DataFrame, min_quality: float) -> dict[str, Any]:
    from clsstage.masks import TRUSTED, MaskTrust

    status, reason = MaskTrust(min_quality=min_quality).judge_table(table)
    pixels = table["height"] * table["width"]
    touches = (
        (table["y0"] <= 0) | (table["x0"] <= 0)
        | (table["y1"] >= table["height"]) | (table["x1"] >= table["width"])
    )  # fmt: skip
    return {
        "trusted": np.isin(status, TRUSTED),
        "reason": reason,
        "share": (table["area"] / pixels).to_numpy(float),
        "touches": touches.to_numpy(bool),
    }


def _judged_files(rows: pd.DataFrame) -> dict[str, Any]:
    trusted, reasons, shares, touching = [], [], [], []
    for path in track(rows["mask"].tolist(), "looking at masks", len(rows)):
        mask, reason = None, "no mask"
        if isinstance(path, str) and Path(path).is_file():
            try:
                mask = read_mask(path)
                reason = "" if mask.any() else "empty mask"
            except LesionError as error:
                reason = error.found
        trusted.append(not reason)
        reasons.append(reason)
        shares.append(float("nan") if mask is None else float(mask.mean()))
        border = mask is not None and (
            mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
        )
        touching.append(bool(border))
    return {"trusted": trusted, "reason": reasons, "share": shares, "touches": touching}
