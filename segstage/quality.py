"""Mask quality without truth: the Dice that a mask's traits let us expect.

`segstage.quality_fit` fits the model at the end of `segstage train`; it is plain JSON, no pickle,
and lies beside the weights. It decides no mask, so it is not in the fingerprint: a cache records
which model judged its masks, and another model makes no mask anew (docs/reference/mask-quality.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lesioncore.errors import LesionError
from lesioncore.files import PathLike, read_json, sha256_json, write_json
from segstage.mask_traits import NO_SIZE, TRAITS_VERSION, ExpectedSize, mask_traits, tile_size

__all__ = [
    "FILE",
    "LOW_QUALITY",
    "NO_SIZE",
    "TRAITS",
    "ExpectedSize",
    "QualityModel",
    "agreement_factor",
    "load_quality",
    "mask_traits",
    "tile_size",
]

FILE = "quality.json"
FORMAT = "lesion mask quality"
QUALITY_VERSION = 1
#: Agreement with a measured size at or above this changes nothing: instruments draw borders
#: differently, and an area ratio of one half is a diameter ratio of 0.7.
AGREEMENT = 0.5
#: Below this a mask's `reason` says what is wrong with it, and stage 2 does not trust it.
LOW_QUALITY = 0.6


def _logit(value: float) -> float:
    inside = min(0.995, max(0.005, value))
    return float(np.log(inside / (1 - inside)))


@dataclass(frozen=True)
class Trait:
    """How a trait enters: by which scale, whether more of it is better (1) or worse (-1), and what
    is said of a mask that it speaks against."""

    scale: Callable[[float], float]
    sign: int
    complaint: str


def _log(value: float) -> float:
    return float(np.log(value + 0.01))


TRAITS: dict[str, Trait] = {
    "confidence": Trait(_logit, 1, "the segmenter is not sure of it"),
    "stability": Trait(_logit, 1, "another threshold would draw another border"),
    "rim": Trait(_log, -1, "its border is blurred"),
    "outside": Trait(_log, -1, "there may be lesion outside it"),
    "parts": Trait(lambda v: float(np.log(max(1.0, v))), -1, "it was one of several parts"),
    "border_contact": Trait(float, -1, "it runs out of the picture"),
    "solidity": Trait(_logit, 1, "its outline is torn"),
    "compactness": Trait(float, 1, "its outline is ragged"),
    "off_centre": Trait(float, -1, "it lies far from the centre"),
    # An outline that is one pixel off costs a small lesion more.
    "area": Trait(lambda v: float(np.log(v + 1e-4)), 1, "it is very small"),
    "disagreement": Trait(_log, -1, "members or views do not agree on it"),
}


@dataclass(frozen=True, kw_only=True)
class QualityModel:
    """Expected Dice from traits, as stored in ``quality.json``.

    Attributes
    ----------
    intercept : float
    weights, centre, spread, low, high : dict of str to float
        By trait, on its scale: weight a standard deviation, mean, standard deviation, and the
        range seen at the fit, to which values are clipped.
    images : int
        Masks with a truth that it was fitted on.
    scores : dict
        Cross-validated Spearman correlation with Dice and its interval, and other figures.
    """

    intercept: float
    weights: dict[str, float]
    centre: dict[str, float]
    spread: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    images: int
    scores: dict[str, Any]

    def predict(self, traits: Mapping[str, float]) -> float:
        """Return the quality of a mask in [0, 1]: the Dice expected, times `agreement_factor`.

        A trait that is missing counts as an average one. An empty mask has quality 0.

        Parameters
        ----------
        traits : mapping
            From `mask_traits`.
        """
        if not traits.get("area", 0.0) > 0:
            return 0.0
        total = self.intercept + sum(self._share(name, traits.get(name)) for name in self.weights)
        return float(agreement_factor(traits) / (1 + np.exp(-total)))

    def judge(self, traits: Mapping[str, float]) -> tuple[float, str]:
        """Return the quality of a mask, and the reason where it is under `LOW_QUALITY`."""
        quality = self.predict(traits)
        low = 0 < quality < LOW_QUALITY
        return quality, f"low quality: {self.doubt(traits)}" if low else ""

    def doubt(self, traits: Mapping[str, float]) -> str:
        """Return in words what lowers the quality of a mask most."""
        if agreement_factor(traits) < 1:
            return "its size is not the one measured"
        parts = {name: self._share(name, traits.get(name)) for name in self.weights}
        worst = min(parts, key=lambda name: parts[name], default="")
        if worst and parts[worst] < 0:
            return TRAITS[worst].complaint
        return "masks like it were poor in validation"

    def _share(self, name: str, value: float | None) -> float:
        """Return what a trait adds to the logit of the quality, 0 where it is missing."""
        if value is None or np.isnan(value):
            return 0.0
        scaled = TRAITS[name].scale(float(value))
        scaled = min(self.high[name], max(self.low[name], scaled))
        return self.weights[name] * (scaled - self.centre[name]) / self.spread[name]

    @property
    def identity(self) -> dict[str, Any]:
        """Version and SHA-256 of what decides its predictions, for a cache to record."""
        plain = self.to_dict()
        decides = {k: v for k, v in plain.items() if k not in ("images", "scores")}
        return {"version": QUALITY_VERSION, "sha256": sha256_json(decides)}

    def to_dict(self) -> dict[str, Any]:
        """Return the model as plain values."""
        return {
            "format": FORMAT,
            "schema_version": QUALITY_VERSION,
            "traits_version": TRAITS_VERSION,
            "intercept": self.intercept,
            "traits": {
                name: {
                    "weight": self.weights[name],
                    "centre": self.centre[name],
                    "spread": self.spread[name],
                    "low": self.low[name],
                    "high": self.high[name],
                }
                for name in self.weights
            },
            "images": self.images,
            "scores": self.scores,
        }

    def save(self, folder: PathLike) -> None:
        """Write ``quality.json`` into a run or weights folder."""
        write_json(Path(folder) / FILE, self.to_dict())

    @classmethod
    def load(cls, path: PathLike) -> QualityModel:
        """Return the model in a file.

        Raises
        ------
        LesionError
            Not such a file, damaged, or of a newer version.
        """
        record = read_json(path)
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise LesionError(f"{path} holds no quality model", mend="train the segmenter anew")
        found = (record.get("schema_version"), record.get("traits_version"))
        if found != (QUALITY_VERSION, TRAITS_VERSION):
            raise LesionError(
                f"{path} has schema and traits version {found}",
                wanted=f"{(QUALITY_VERSION, TRAITS_VERSION)}",
                mend=f"rm {path} (quality is then null), or use the version of the tool it is from",
            )
        try:
            traits = record["traits"]
            unknown = [name for name in traits if name not in TRAITS]
            if unknown:
                raise KeyError(unknown[0])
            columns = {
                key: {name: float(trait[key]) for name, trait in traits.items()}
                for key in ("weight", "centre", "spread", "low", "high")
            }
            return cls(
                intercept=float(record["intercept"]),
                weights=columns.pop("weight"),
                **columns,
                images=int(record["images"]),
                scores=dict(record["scores"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise LesionError(f"{path} is a damaged quality model: {error}") from error


def load_quality(folder: PathLike) -> QualityModel | None:
    """Return the quality model in a run or weights folder, None where there is none."""
    path = Path(folder) / FILE
    return QualityModel.load(path) if path.is_file() else None


def agreement_factor(traits: Mapping[str, float]) -> float:
    """Return by how much disagreement with a measured size lowers the quality, in [0, 1].

    The smaller of `area_agreement` and `axis_agreement`, over `AGREEMENT`, at most 1; 1 without a
    measurement. Of tiles there is no true mask, so this is a rule and not a fit.
    """
    known = [traits[name] for name in ("area_agreement", "axis_agreement") if name in traits]
    return min(1.0, min(known) / AGREEMENT) if known else 1.0
