"""Members that learn nothing: used by their own name where others need weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

from lesioncore.errors import LesionError
from lesioncore.files import PathLike, sha256_bytes
from segstage.models._registry import Segmenter, segmenter_class, segmenter_names
from segstage.postprocess import PostProcessing
from weights.card import WeightCard
from weights.imagenet import ImageNetRecord


class Untrained(Segmenter):
    """A segmenter without parameters: pixels in [0, 1] in, logits out.

    Parameters
    ----------
    encoder_weights : str
        As every member has it; there is nothing to load.
    algorithm_version : int, optional
        Of a saved card; another than this one's is refused, since its masks would differ.
    """

    trainable = False
    has_encoder = False
    #: Stands in fingerprints where others have the hash of their weights.
    current_version: ClassVar[int] = 1
    #: Side in pixels to which images are stretched when it is used by name.
    working_size: ClassVar[int] = 256

    def __init__(self, encoder_weights: str = "none", algorithm_version: int | None = None) -> None:
        super().__init__()
        version = self.current_version if algorithm_version is None else algorithm_version
        if version != self.current_version:
            raise LesionError(
                f"a card of {self.name}, version {version}",
                wanted=f"version {self.current_version}, which this installation has",
                mend=f"--weights {self.name}",
            )
        options = {"algorithm_version": version}
        self.describe(options, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), ImageNetRecord("none"))


def untrained_member(name: PathLike | None) -> tuple[Segmenter, WeightCard] | None:
    """Return the untrained member called `name` and its card; None where there is none.

    An existing path of that name wins, as over the names of shipped weights.
    """
    if name is None or Path(name).name != str(name) or Path(name).exists():
        return None
    if str(name) not in segmenter_names():
        return None
    made_by = segmenter_class(str(name))
    if not issubclass(made_by, Untrained):
        return None
    segmenter = made_by()
    card = WeightCard(
        name=str(name),
        kind="segmenter",
        architecture=segmenter.architecture,
        preprocessing={
            "size": made_by.working_size,
            "resize": "stretch; area down, linear up",
            **segmenter.normalisation,
        },
        postprocessing=PostProcessing().to_dict(),
        training_data="none",
        licence="Apache-2.0: there are no weights",
        sha256=sha256_bytes(json.dumps(segmenter.architecture, sort_keys=True).encode()),
    )
    return segmenter, card
