"""Is a picture a photograph of a skin lesion at all? A look at the pixels, and at an embedding.

The embedding is what the encoder of the classifier pools from the whole picture; its distance is
that to the k-th nearest of some hundred known lesions, by cosine (Sun, Ming, Zhu and Li:
Out-of-Distribution Detection with Deep Nearest Neighbors, ICML 2022, arXiv 2204.06507). The limit
is the quantile of other lesions that the stated rate of false refusals allows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesioncore.errors import LesionError, refuse_newer
from lesioncore.files import atomic_path

if TYPE_CHECKING:
    from clsstage.members import Member

FILE = "skin.safetensors"
SCHEMA = 1
#: Which neighbour counts: the first may be a chance likeness.
NEIGHBOUR = 5
_FLAT = 2.0
_ONE_VALUE = 0.95
_NOISE = 0.5
_SIDE = 256
_BATCH = 32


def unlikely_picture(pixels: NDArray[np.uint8]) -> str | None:
    """Return why the pixels alone cannot be a photograph of a lesion, None where they can.

    Parameters
    ----------
    pixels : (H, W, 3) uint8 RGB
    """
    step = max(1, min(pixels.shape[:2]) // _SIDE)
    # Every n-th pixel as it is: scaling would smooth noise, and mix the two values of a text.
    part = pixels[::step, ::step]
    grey = part.mean(2)
    if float(part.reshape(-1, 3).std(0).max()) < _FLAT:
        return "it has one colour only"
    values, counts = np.unique(
        part.reshape(-1, 3).astype(np.int32) @ (65536, 256, 1), return_counts=True
    )
    if counts.max() > _ONE_VALUE * counts.sum() or len(values) < 16:
        return "it has few colours, as a drawing or a page of text"
    close = pixels[: _SIDE * 2, : _SIDE * 2].mean(2)
    if max(_likeness(close), _likeness(close.T), _likeness(grey)) < _NOISE:
        return "its pixels have nothing to do with their neighbours, as noise"
    return None


def _likeness(grey: NDArray[np.float64]) -> float:
    """Return the correlation of neighbouring pixels, of flat parts 1."""
    left, right = grey[:, :-1].ravel(), grey[:, 1:].ravel()
    if left.std() < 1e-6 or right.std() < 1e-6:
        return 1.0
    return float(np.corrcoef(left, right)[0, 1])


@dataclass(frozen=True)
class SkinReference:
    """Known lesions, as a classifier sees them, and how far another lesion may lie from them.

    Attributes
    ----------
    values : (n, F) float16
        Unit embeddings. They are no pixels; what can be told of a picture from its embedding is
        little, but not nothing.
    limit : float
        Distance above which a picture is refused.
    card : dict
        What it was made of, the rate that the limit is for, what was measured.
    """

    values: NDArray[np.float16]
    limit: float
    card: dict[str, Any]

    def distances(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return how far embeddings (m, F) lie from the known lesions, (m,), 0 to 2."""
        known = self.values.astype(np.float32)
        likeness = np.sort(unit(features) @ known.T, axis=1)
        return np.asarray(1 - likeness[:, -min(NEIGHBOUR, len(known))], np.float64)


def unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows (m, F) at length one."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(length, 1e-12), np.float32)


def limit_for(distances: NDArray[np.float64], rate: float) -> float:
    """Return the limit that a further lesion like these exceeds with a chance of at most `rate`.

    That is the conformal quantile; where there are too few lesions for the rate, the largest of
    them.
    """
    place = math.ceil((len(distances) + 1) * (1 - rate))
    return float(np.sort(distances)[min(place, len(distances)) - 1])


def write_reference(path: Path, reference: SkinReference) -> None:
    """Write a reference, whole or not at all."""
    from safetensors.numpy import save_file

    card = {"schema_version": SCHEMA, "limit": reference.limit, **reference.card}
    with atomic_path(path) as temporary:
        save_file({"values": reference.values}, temporary, metadata={"card": json.dumps(card)})
        Path(temporary).chmod(0o644)


def read_reference(path: Path) -> SkinReference:
    """Return the reference in a file.

    Raises
    ------
    LesionError
        No such file, something else, or a newer version.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            card = json.loads((file.metadata() or {})["card"])
            values = file.get_tensor("values")
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise LesionError(
            f"cannot read the skin check {path}: {error}",
            wanted="a file by lesion skin-check",
            mend="lesion skin-check --weights CLASSIFIER --dataset NAME --root DIR --out FILE",
        ) from None
    refuse_newer(f"{path} has schema version", card.pop("schema_version"), SCHEMA)
    return SkinReference(values, float(card.pop("limit")), card)


class SkinCheck:
    """Holds pictures against a reference, by the first member of a classifier.

    Parameters
    ----------
    reference : SkinReference
    member : Member
    device : torch.device

    Raises
    ------
    LesionError
        The reference was made by another classifier.
    """

    def __init__(self, reference: SkinReference, member: Member, device: Any) -> None:
        made_by = reference.card.get("weights_sha256")
        if made_by != member.card.sha256:
            raise LesionError(
                f"the skin check was made by the weights {str(made_by)[:12]}, "
                f"the classifier has {member.card.sha256[:12]}",
                wanted="a reference of this very classifier",
                mend="lesion skin-check --weights CLASSIFIER --dataset NAME --root DIR",
            )
        self.reference = reference
        self.member = member
        self.device = device

    def distances(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Return how far pictures, (H, W, 3) uint8 RGB each, lie from known lesions."""
        return self.reference.distances(embed(self.member, pictures, self.device))

    def reason(self, distance: float) -> str | None:
        """Return why a picture at this distance is refused, None where it is not."""
        if distance <= self.reference.limit:
            return None
        return (
            "to the classifier it is unlike all known lesions "
            f"(distance {distance:.3f}, limit {self.reference.limit:.3f})"
        )


def embed(
    member: Member, pictures: Sequence[NDArray[np.uint8]], device: Any
) -> NDArray[np.float32]:
    """Return what the encoder pools from whole pictures, (m, F): no mask has a part in it."""
    import torch

    network: Any = member.network
    found = []
    with torch.inference_mode():
        for start in range(0, len(pictures), _BATCH):
            seen = [member.view.see(picture, None) for picture in pictures[start : start + _BATCH]]
            images = torch.from_numpy(np.stack(seen)).to(device)
            found.append(network.encoder.forward_head(network.maps(images)).float().cpu().numpy())
    return np.concatenate(found)
