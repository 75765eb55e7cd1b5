"""What a stack is given: the table of an archive with measured masks and image scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesioncore.progress import log
from lesioncore.readers import load_manifest
from pipelines.ensembles.combination import log_odds
from pipelines.ensembles.members import Source, find_sources
from pipelines.scoring_config import EvaluateConfig
from pipelines.scoring_table import read_scores
from pipelines.stack.features.table import MASK, SCORE, FeatureTable, make_features, score_columns
from pipelines.stack_config import StackOptions

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]


@dataclass(frozen=True)
class StackRows:
    """Lesions with their features.

    Attributes
    ----------
    manifest : DataFrame
        With `mask_*` and `score_*` columns.
    features : FeatureTable
        Of the same rows; each is compared with all lesions of its patient in the archive.
    """

    manifest: pd.DataFrame
    features: FeatureTable

    def __len__(self) -> int:
        return len(self.manifest)

    def take(self, rows: NDArray[np.int64]) -> StackRows:
        """Return those rows, in that order."""
        values = self.features.values[rows]
        return StackRows(
            self.manifest.iloc[rows].reset_index(drop=True),
            dataclasses.replace(self.features, values=values),
        )

    @property
    def scores(self) -> Array:
        """The image scores on the scale on which they add up, (n, S): log-odds of probabilities."""
        columns = [
            _on_scale(self.manifest[name].to_numpy(np.float64))
            for name in score_columns(self.manifest)
        ]
        return np.stack(columns, axis=1) if columns else np.empty((len(self), 0))

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which rows have all scores, (n,)."""
        names = score_columns(self.manifest)
        return self.manifest[names].notna().all(axis=1).to_numpy(bool)

    def noisy(self, deviation: float, rng: np.random.Generator) -> StackRows:
        """Return the rows with Gaussian noise on their scores and on all that is made of these.

        Parameters
        ----------
        deviation : float
            As a part of each score's own deviation on its scale (log-odds of probabilities).
        rng : Generator
        """
        names = score_columns(self.manifest)
        if not names or not deviation:
            return self
        manifest = self.manifest.copy()
        for name in names:
            given = manifest[name].to_numpy(np.float64)
            scaled = _on_scale(given)
            scaled = scaled + deviation * np.nanstd(scaled) * rng.standard_normal(len(scaled))
            manifest[name] = 1 / (1 + np.exp(-scaled)) if _is_probability(given) else scaled
        again = make_features(manifest[[*manifest.columns.intersection(["patient_id"]), *names]])
        place = {name: at for at, name in enumerate(again.names)}
        values = self.features.values.copy()
        for at, name in enumerate(self.features.names):
            if name in place:
                values[:, at] = again.values[:, place[name]]
        return StackRows(manifest, dataclasses.replace(self.features, values=values))


def load_rows(
    config: StackOptions, without: Sequence[str] = (), names: Sequence[str] | None = None
) -> tuple[StackRows, list[Source]]:
    """Return the lesions of an archive, and where their scores came from.

    Parameters
    ----------
    config : StackOptions
    without : sequence of str
        Families of features to leave out.
    names : sequence of str, optional
        What the scores are called, in their order; left out, after their tables.

    Raises
    ------
    LesionError
        As the reader, a cache without measurements, or a table without scores.
    """
    manifest = load_manifest(config, require_images=False)
    # An archive's own `score_weight` is no image score.
    foreign = [name for name in manifest if str(name).startswith((SCORE, MASK))]
    if foreign:
        log.warning("columns of the archive that are not used: %s", ", ".join(map(str, foreign)))
        manifest = manifest.drop(columns=foreign)
    if config.masks is not None:
        manifest = _with_masks(manifest, config)
    sources = find_sources(config.scores, out_of_fold=names is None)
    for source, name in zip(sources, names or [s.name for s in sources], strict=True):
        given = EvaluateConfig(
            predictions=source.path, score_column=[source.column] if source.column else None
        )
        table = read_scores(given, "TABLE::COLUMN").set_index("image_id")["score"]
        manifest[SCORE + name] = manifest["image_id"].map(table).astype("float64")
        found = int(manifest[SCORE + name].notna().sum())
        log.info("%s: scores of %d of %d lesions", source.path, found, len(manifest))
    return StackRows(manifest, make_features(manifest, without)), sources


def _with_masks(manifest: pd.DataFrame, config: StackOptions) -> pd.DataFrame:
    from lesioncore.cache.measured import read_measurements
    from lesioncore.measurements import MEASUREMENTS

    assert config.masks is not None
    table = read_measurements(config.masks).set_index("image_id")[list(MEASUREMENTS)]
    lost = int((~manifest["image_id"].isin(table.index)).sum())
    if lost:
        log.warning("%d of %d lesions have no measured mask", lost, len(manifest))
    return manifest.join(table.add_prefix(MASK), on="image_id")


def _is_probability(scores: Array) -> bool:
    known = scores[~np.isnan(scores)]
    return bool(len(known) == 0 or (known.min() >= 0 and known.max() <= 1))


def _on_scale(scores: Array) -> Array:
    return log_odds(scores) if _is_probability(scores) else scores
