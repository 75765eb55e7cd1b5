"""The card of a weight: architecture, preprocessing, data, licence, scores and limits."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from lesioncore.errors import LesionError

CARD_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class WeightCard:
    """What one needs to know to rebuild, use and judge a weight.

    Attributes
    ----------
    name : str
        Short name, e.g. ``"unet tu-tf_efficientnet_lite0 (member 0)"``.
    kind : str
        "segmenter" or "classifier".
    architecture : dict
        Arguments of the family's factory, enough to rebuild the network without any download.
    preprocessing : dict
        How an image becomes input: ``size`` (pixels), ``mean`` and ``std`` (units of [0, 1], RGB),
        ``resize`` and whatever else changes the numbers.
    postprocessing : dict
        How probabilities become a result (threshold, ...); part of every fingerprint.
    training_data : str
        Archives and how many images; which were held back.
    first_weights : dict
        Where the encoder's first weights came from: `source`, `sha256`, `licence`; see
        `weights.imagenet.ImageNetRecord`.
    licence : str
        Licence of the weights, which follows from the data they were trained on.
    metrics : dict
        Scores with the set they were measured on.
    limits : str
        What the weight is not for.
    sha256 : str
        Of the safetensors file, 64 hex digits; filled in when saved.
    created : str
        UTC, ISO 8601.
    tool_version : str
        Version of lesion-pipeline that wrote it; recorded, never compared.
    """

    name: str
    kind: str
    architecture: dict[str, Any]
    preprocessing: dict[str, Any]
    postprocessing: dict[str, Any] = field(default_factory=dict)
    training_data: str = ""
    first_weights: dict[str, str] = field(default_factory=dict)
    licence: str = "unknown: that of the training data"
    metrics: dict[str, Any] = field(default_factory=dict)
    limits: str = "A research tool, never a diagnosis."
    sha256: str = ""
    created: str = ""
    tool_version: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the card as JSON-ready values."""
        return {"schema_version": CARD_SCHEMA, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, values: Any, where: object = "card") -> WeightCard:
        """Return the card that `to_dict` gave; unknown keys of newer versions are left out.

        Raises
        ------
        LesionError
            `values` is not a card; `where` names the file.
        """
        if not isinstance(values, dict):
            raise LesionError(f"{where} holds no weight card", wanted="a JSON object")
        if values.get("schema_version", CARD_SCHEMA) > CARD_SCHEMA:
            raise LesionError(
                f"{where} was written by a newer version ({values.get('tool_version')})",
                mend="upgrade lesion-pipeline",
            )
        known = {item.name for item in dataclasses.fields(cls)}
        missing = {"name", "kind", "architecture", "preprocessing"} - values.keys()
        if missing:
            raise LesionError(
                f"{where} lacks {', '.join(sorted(missing))}", wanted="a complete weight card"
            )
        return cls(**{key: value for key, value in values.items() if key in known})
