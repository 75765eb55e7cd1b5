"""An exported classifier at work: an image and metadata in, a probability out, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clsstage.masks import MaskTrust
from clsstage.metadata import MetadataEncoder
from clsstage.one_image import ImageClassifier
from clsstage.targets import Target, create_target
from clsstage.view import View
from lesioncore.calibration import Calibration
from lesioncore.onnx_session import Engine, open_session


@dataclass(frozen=True)
class RuntimeMember:
    """How a member of an exported classifier looks at an image; see `clsstage.members.Member`."""

    view: View
    trust: MaskTrust
    encoder: MetadataEncoder
    target: Target
    policy: str

    @classmethod
    def read(cls, values: dict[str, Any]) -> RuntimeMember:
        """Return the member that the preprocessing of a card describes."""
        policy = str(values["policy"])
        return cls(
            View.from_dict(values),
            MaskTrust(values["min_score"], values["min_quality"]),
            MetadataEncoder.from_dict(values["metadata"]),
            create_target(values.get("target", "binary"), policy),
            policy,
        )


class RuntimeClassifier(ImageClassifier):
    """What `LesionClassifier` says of an image, by an exported graph.

    Parameters
    ----------
    folder : Path
        Of `lesion export`, with `classifier.onnx`.
    values : dict
        The classifier's part of `bundle.json`.
    engine : str
        See `lesioncore.onnx_session.ENGINES`.
    threads : int
        0 leaves them to the engine.
    calibration : Calibration, optional
    """

    members: list[RuntimeMember]

    def __init__(
        self,
        folder: Path,
        values: dict[str, Any],
        engine: Engine = "onnxruntime",
        threads: int = 0,
        calibration: Calibration | None = None,
    ) -> None:
        self.session = open_session(folder / values["graph"], engine, threads)
        self.name = str(values["name"])
        self.members = [RuntimeMember.read(one) for one in values["members"]]
        self.calibration = calibration

    def _chances(
        self, picture: NDArray[np.uint8], codes: Sequence[NDArray[np.float32]], views: int | None
    ) -> NDArray[np.float64]:
        # How many views are averaged was decided when the graph was made.
        given = {"image": picture[None]}
        code = np.concatenate([np.zeros(0, np.float32), *codes])
        if len(code):  # without metadata the graph has no such input
            given["metadata"] = code[None]
        return self.session(given)["probabilities"][0].astype(np.float64)  # type: ignore[no-any-return]
