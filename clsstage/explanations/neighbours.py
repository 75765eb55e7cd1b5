"""The known lesions that look most alike to a classifier, by a file of `clsstage features`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clsstage.feature_file import read_features
from clsstage.members import Member
from lesioncore.errors import LesionError


@dataclass(frozen=True)
class Neighbour:
    """A known lesion: its `image_id`, and the cosine `similarity` of its features, -1 to 1."""

    image_id: str
    similarity: float


class NeighbourIndex:
    """Finds known lesions by the features of one member.

    Parameters
    ----------
    features : path
        HDF5 file that `clsstage features --weights RUN` wrote with this very classifier.
    member : Member
        Whose features are compared; those of different members mean different things.

    Raises
    ------
    LesionError
        No such file, or one that other weights made.
    """

    def __init__(self, features: str | Path, member: Member) -> None:
        found = read_features(features)
        made_by = [one.get("weights_sha256") for one in found.fingerprint["networks"]]
        numbers = sorted(found.members)
        mine = [
            number
            for number, sha256 in zip(numbers, made_by, strict=False)
            if sha256 == member.card.sha256
        ]
        if not mine:
            raise LesionError(
                f"{features} was not made by this classifier",
                wanted=f"features by the weights {member.card.sha256[:12]}",
                mend="clsstage features --weights RUN --dataset NAME --root DIR --out FILE",
            )
        values = found.members[mine[0]]
        known = np.isfinite(values).all(1)
        self.member = member
        self.layer = str(found.attributes["layer"])
        self.ids: NDArray[np.object_] = found.image_id[known]
        self.values = _unit(values[known])

    def nearest(
        self, image: Tensor, metadata: Tensor, count: int = 5, *, without: Collection[str] = ()
    ) -> list[Neighbour]:
        """Return the `count` nearest known lesions of one image, nearest first.

        Parameters
        ----------
        image : (1, planes, S, S) float32
        metadata : (1, width) float32
        count : int
        without : collection of str
            Ids that are left out, such as the image itself.
        """
        network = self.member.network
        with torch.inference_mode():
            if self.layer == "fused":
                found = network.features(image, metadata)
            else:
                found = network.encoder.forward_head(network.maps(image))  # type: ignore[operator]
        likeness = self.values @ _unit(found.float().cpu().numpy())[0]
        order = np.argsort(-likeness, kind="stable")
        chosen = [row for row in order if self.ids[row] not in without][:count]
        return [Neighbour(str(self.ids[row]), float(likeness[row])) for row in chosen]


def _unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(length, 1e-12), np.float32)
