"""What the checks look at: one manifest of all archives, its parts, labels, images and scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lesioncore.config import DataOptions
from lesioncore.errors import LesionError, UsageError
from pipelines.audit.parts import (
    Parts,
    masks_of_run,
    read_parts,
    scores_of_run,
    split_of_run,
)
from pipelines.audit_config import OWN_PARTS, AuditConfig

if TYPE_CHECKING:
    import pandas as pd

    from lesioncore.cache import MaskCache
    from pipelines.audit.copies import Copies

#: Columns that name the hospital; the first that a manifest has, with two values or more.
HOSPITAL_NAMES = ("hospital", "institution", "centre", "center", "clinic", "attribution")
#: Columns that name the camera or the dermatoscope.
DEVICE_NAMES = (
    "device", "camera", "camera_model", "dermatoscope", "dermoscope", "dermoscopic_type",
    "image_manipulation", "tbp_tile_type",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Archives(DataOptions):
    """`DataOptions` of several archives (`lesioncore.archives.MixedOptions`)."""

    also: dict[str, Path] | None = None


@dataclass(frozen=True)
class AuditData:
    """Everything that the checks look at; images are read when a check first asks.

    Attributes
    ----------
    config : AuditConfig
    manifest : DataFrame
        Of all archives, index 0 to rows - 1.
    labels : (n,) float64
        1 malignant, 0 benign, NaN unknown.
    policy : str
        What the labels call malignant.
    split : Parts or None
    scores : (n,) float64 or None
        NaN where an image has none.
    unmatched : int
        Scores of images that the manifest does not have.
    cache : MaskCache or None
    faces : bool
        Whether the look at the images looks for faces.
    """

    config: AuditConfig
    manifest: pd.DataFrame
    labels: npt.NDArray[np.float64]
    policy: str
    split: Parts | None
    scores: npt.NDArray[np.float64] | None
    unmatched: int
    cache: MaskCache | None
    faces: bool = True

    @cached_property
    def ids(self) -> npt.NDArray[Any]:
        """Image ids, (n,) object."""
        return self.manifest["image_id"].astype(str).to_numpy(object)

    @cached_property
    def parts(self) -> pd.Series[Any] | None:
        """Part of each image, null where it is in none; None without a split."""
        return None if self.split is None else self.split.named(self.ids.tolist())

    @cached_property
    def groups(self) -> npt.NDArray[Any]:
        """What the bootstrap draws as a whole: patient, where unknown lesion, else the image."""
        from lesioncore.splits import assign_groups

        return assign_groups(self.manifest).to_numpy(object)

    @cached_property
    def looks(self) -> pd.DataFrame | None:
        """See `pipelines.audit.looks`; None where images are left out or there are none."""
        from pipelines.audit.looks import look_at_images

        if not self.config.images or not self.manifest["image"].notna().any():
            return None
        return look_at_images(
            self.manifest, self.config.out, faces=self.faces, workers=self.config.workers
        )

    @cached_property
    def copies(self) -> Copies | None:
        """Which images show the same picture; None without images."""
        from pipelines.audit.copies import find_copies

        if self.looks is None:
            return None
        return find_copies(self.manifest, self.looks, workers=self.config.workers)

    @cached_property
    def outside(self) -> pd.DataFrame | None:
        """What lies outside the lesions, see `pipelines.audit.outside`; None without masks."""
        from pipelines.audit.outside import look_outside

        if not self.config.images:
            return None
        return look_outside(self)

    @cached_property
    def hospital(self) -> str | None:
        """The column that names the hospital."""
        named = self.config.hospital
        if named is not None:
            if named not in self.manifest:
                raise UsageError(
                    f"no column {named!r}", wanted=f"one of: {', '.join(self.manifest.columns)}"
                )
            return named
        return self._first_varied(HOSPITAL_NAMES)

    @cached_property
    def device(self) -> str | None:
        """The column that names the camera."""
        return self._first_varied(DEVICE_NAMES)

    def _first_varied(self, names: Sequence[str]) -> str | None:
        lower = {str(column).lower(): str(column) for column in self.manifest.columns}
        there = (lower[name] for name in names if name in lower)
        return next((name for name in there if self.manifest[name].nunique() > 1), None)

    def named(self, rows: npt.NDArray[np.int64]) -> list[str]:
        """Return the ids of rows, in order."""
        return [str(name) for name in self.ids[rows]]


def load_audit_data(config: AuditConfig, *, faces: bool = True) -> AuditData:
    """Read what a command names, images excepted.

    Raises
    ------
    LesionError
        The archive, the split, the predictions or the masks cannot be read, or do not belong
        together.
    """
    from lesioncore.archives import load_archives
    from lesioncore.cache import MaskCache
    from lesioncore.diagnoses import labels
    from lesioncore.readers import policy_of

    options = Archives(
        dataset=config.dataset, root=config.root, columns=config.columns, n=config.n,
        limit=config.limit, also=config.also,
        split="auto" if config.split_file else config.split,  # type: ignore[arg-type]
    )  # fmt: skip
    manifest = load_archives(options, seed=config.seed, require_images=config.images)
    policy = policy_of(config.dataset, config.policy)
    given = (config.split_file, config.predictions, config.masks)
    if config.run is not None:
        run = config.run
        given = (
            given[0] or split_of_run(run), given[1] or scores_of_run(run),
            given[2] or masks_of_run(run),
        )  # fmt: skip
    split, predictions, masks = given
    if split is not None and not split.is_file():
        raise UsageError(
            f"--split is {config.split}", wanted=f"a table, or one of: {', '.join(OWN_PARTS)}"
        )
    scores, unmatched = _scores(predictions, manifest, config.score_column)
    return AuditData(
        config=config,
        manifest=manifest,
        labels=np.asarray(labels(manifest, policy), np.float64),
        policy=policy,
        split=None if split is None else _belonging(read_parts(split), manifest),
        scores=scores,
        unmatched=unmatched,
        cache=None if masks is None else MaskCache(masks),
        faces=faces,
    )


def _belonging(parts: Parts, manifest: pd.DataFrame) -> Parts:
    if parts.of.index.isin(manifest["image_id"].astype(str)).any():
        return parts
    raise LesionError(
        f"{parts.path} names none of the {len(manifest)} images",
        wanted="the split of these images",
    )


def _scores(
    path: Path | None, manifest: pd.DataFrame, column: str | None
) -> tuple[npt.NDArray[np.float64] | None, int]:
    """Return the score of each row, and how many scores belong to no row."""
    from pipelines.scoring_config import EvaluateConfig
    from pipelines.scoring_table import read_scores

    if path is None:
        return None, 0
    table = read_scores(EvaluateConfig(predictions=path, score_column=[column] if column else None))
    values = table.set_index("image_id")["score"]
    ours = manifest["image_id"].astype(str)
    found = values.reindex(ours).to_numpy(np.float64)
    if np.isnan(found).all():
        raise LesionError(
            f"{path} has a score of none of the {len(manifest)} images",
            wanted="predictions of these images",
        )
    return found, int((~values.index.isin(ours)).sum())
