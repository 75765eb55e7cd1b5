"""`Explainer`: the answer of the pipeline for one photograph, and what it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from clsstage.explanations import (
    Deletion,
    Inside,
    Neighbour,
    NeighbourIndex,
    deletion,
    evidence,
    inside,
    metadata_attributions,
)
from clsstage.predictor import LesionClassifier
from clsstage.view import View
from lesioncore.errors import LesionError, UsageError
from lesioncore.sites import harmonise_sex, harmonise_site
from pipelines.pipeline import NOTICE, LesionPipeline, PipelineResult

if TYPE_CHECKING:
    import pandas as pd

    from clsstage.members import Member
    from lesioncore.cache import MaskEntry

_PIECES = ("full", "crop", "dilated_crop")


@dataclass(frozen=True)
class Known:
    """A known lesion near the explained one.

    Attributes
    ----------
    image_id : str
    similarity : float
        Cosine of the features, -1 to 1.
    picture : (H, W, 3) uint8 RGB, or None
        Where the archive is at hand.
    diagnosis : str
        Empty where it is not known.
    """

    image_id: str
    similarity: float
    picture: NDArray[np.uint8] | None = None
    diagnosis: str = ""


@dataclass(frozen=True)
class Explanation:
    """What an answer rests on. Research use, not a diagnosis.

    Attributes
    ----------
    result : PipelineResult
    heat : (S, S) float32
        Evidence at each place of `result.crop`, 0 to 1.
    mask : (S, S) float32
        Soft mask in the same pixels.
    inside : Inside
    deletion : Deletion
    effects : dict of str to float
        What each known piece of metadata adds to the log-odds of malignancy.
    nearest : list of Known
    """

    result: PipelineResult
    heat: NDArray[np.float32]
    mask: NDArray[np.float32]
    inside: Inside
    deletion: Deletion
    effects: dict[str, float]
    nearest: list[Known]

    def __str__(self) -> str:
        parts = [f"{self.result.image_id}: probability of malignancy {self.result.probability:.3f}"]
        if np.isnan(self.inside.evidence):
            parts.append("no evidence for malignancy in the image")
        else:
            parts.append(
                f"{self.inside.evidence:.0%} of the evidence inside the mask "
                f"({self.inside.area:.0%} of the picture)"
            )
        parts.append(f"deletion {self.deletion.gain:+.2f} against chance")
        parts += [f"{name} {value:+.2f}" for name, value in self.effects.items()]
        return ", ".join(parts) + f" ({NOTICE})"


class Explainer:
    """Explains what a pipeline says of photographs, by the first member of its classifier.

    Parameters
    ----------
    pipeline : LesionPipeline
    method : str
        See `clsstage.explanations.evidence`.
    features : path, optional
        Of known lesions; see `clsstage.explanations.NeighbourIndex`.
    known : DataFrame, optional
        Manifest of those lesions.
    nearest : int

    Raises
    ------
    LesionError
        The features were made by another classifier.
    UsageError
        The pipeline is an exported run.
    """

    def __init__(
        self,
        pipeline: LesionPipeline,
        method: str = "grad_cam",
        *,
        features: Path | None = None,
        known: pd.DataFrame | None = None,
        nearest: int = 5,
    ) -> None:
        classifier = pipeline.classifier
        if not isinstance(classifier, LesionClassifier):
            raise UsageError(
                "an exported run cannot be explained",
                wanted="the run itself: its graphs have no gradients",
            )
        self.pipeline = pipeline
        self.method = method
        self.device = classifier.device
        self.member: Member = classifier.members[0]
        self.index = None if features is None else NeighbourIndex(features, self.member)
        self.known = None if known is None else known.set_index("image_id")
        self.count = nearest

    def __call__(
        self, pixels: NDArray[np.uint8], image_id: str, metadata: dict[str, Any]
    ) -> Explanation:
        """Return the explanation of one photograph.

        Parameters
        ----------
        pixels : (H, W, 3) uint8 RGB
        image_id : str
        metadata : dict
            age, sex, site, as the pipeline takes them.

        Raises
        ------
        LesionError, UsageError
            As of the pipeline and of `clsstage.explanations.evidence`.
        """
        result = self.pipeline(pixels, image_id=image_id, **metadata)
        member = self.member
        used = result.entry if result.focus == member.view.focus and result.mask.any() else None
        device = self.device
        tensor = torch.from_numpy(member.view.see(pixels, used))[None].to(device)
        row = metadata | {
            "sex": harmonise_sex(metadata.get("sex")),
            "site": harmonise_site(metadata.get("site")),
        }
        code = torch.from_numpy(member.encoder.transform_row(row))[None].to(device)
        heat = evidence(member, tensor, code, self.method, views=4)[0]
        mask = _mask_seen(member.view, pixels, result.entry, focused=used is not None)
        return Explanation(
            result=result,
            heat=heat.numpy(),
            mask=mask,
            inside=inside(heat, mask),
            deletion=deletion(member, tensor, code, heat),
            effects=metadata_attributions(member, tensor, row),
            nearest=self._nearest(tensor, code, image_id),
        )

    def _nearest(self, image: torch.Tensor, code: torch.Tensor, image_id: str) -> list[Known]:
        if self.index is None:
            return []
        found = self.index.nearest(image, code, self.count, without={image_id})
        return [self._shown(one) for one in found]

    def _shown(self, found: Neighbour) -> Known:
        from lesioncore.images import read_image

        if self.known is None or found.image_id not in self.known.index:
            return Known(found.image_id, found.similarity)
        row = self.known.loc[found.image_id]
        said = row.get("diagnosis")
        try:
            picture = read_image(str(row["image"]))
        except LesionError:
            picture = None
        return Known(
            found.image_id, found.similarity, picture, said if isinstance(said, str) else ""
        )


def _mask_seen(
    view: View, pixels: NDArray[np.uint8], entry: MaskEntry, *, focused: bool
) -> NDArray[np.float32]:
    """Return the soft mask in the pixels that the network sees, (S, S) float32, 0 to 1.

    The frame is that of the focus, what stands behind the lesion is not: a view of the same frame
    with the mask as its fourth plane shows where it lies.
    """
    from dataclasses import replace

    if entry.status not in ("ok", "edited") or not entry.area:
        return np.zeros((view.size, view.size), np.float32)
    names = [name for name in view.focus.split("+") if name in _PIECES] if focused else ["full"]
    frame = replace(view, focus="+".join(names or ["full"]), mask_plane=True)
    return np.asarray(frame.picture(pixels, entry)[..., 3] / 255, np.float32)
