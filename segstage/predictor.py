"""A trained segmenter at work: images in, cache entries out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lesioncore.cache import MaskEntry
from lesioncore.devices import arithmetic, choose_device, choose_precision
from lesioncore.errors import LesionError
from lesioncore.files import PathLike
from lesioncore.runs import Run
from segstage.dataset import stretch
from segstage.models._registry import Segmenter, create_segmenter
from segstage.postprocess import (
    POSTPROCESSING_VERSION,
    SCORE_VERSION,
    PostProcessing,
    confidence,
)
from segstage.provenance import Provenance, read_provenance
from segstage.quality import NO_SIZE, ExpectedSize, QualityModel, load_quality, mask_traits
from weights.card import WeightCard
from weights.resolve import resolve
from weights.store import fill_network, load_weights

#: Part of every fingerprint: raise it when the same weights would give other probabilities.
INFERENCE_VERSION = 1
KIND = "segmenter"


class LesionSegmenter:
    """One or more members that segment lesions together.

    Parameters
    ----------
    members : sequence of Segmenter
        Of one architecture and input size.
    cards : sequence of WeightCard
        One a member.
    postprocessing : PostProcessing
    provenance : Provenance, optional
        What the members were trained on.
    device, precision : str
        See `lesioncore.devices`.
    quality : QualityModel, optional
        Judges each mask; without it the quality of masks is null.

    Notes
    -----
    The fingerprint does not hold device and precision: in bf16 a probability may differ by 1/255.
    """

    def __init__(
        self,
        members: Sequence[Segmenter],
        cards: Sequence[WeightCard],
        postprocessing: PostProcessing,
        provenance: Provenance | None = None,
        device: str = "auto",
        precision: str = "auto",
        quality: QualityModel | None = None,
    ) -> None:
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.members = [
            member.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
            for member in members
        ]
        self.cards = list(cards)
        self.postprocessing = postprocessing
        self.provenance = provenance or Provenance(None, len(self.members))
        self.size = int(self.cards[0].preprocessing["size"])
        self.quality = quality
        #: Where it is a dict, `entry` keeps the traits of each mask in it, by image id.
        self.traits: dict[str, dict[str, float]] | None = None

    @classmethod
    def load(
        cls,
        path: PathLike | None = None,
        device: str = "auto",
        precision: str = "auto",
        *,
        threshold: float | None = None,
        largest_component: bool | None = None,
        fill_holes: bool | None = None,
        min_area: float | None = None,
    ) -> LesionSegmenter:
        """Return the segmenter of a run folder (all members), a weights folder or a shipped name.

        Parameters
        ----------
        path : path, str or None
            None takes the weights that ship.
        device, precision : str
        threshold, largest_component, fill_holes, min_area : optional
            Post-processing other than the run was trained with, see `PostProcessing`.

        Raises
        ------
        LesionError
            No weights there, an unfinished run, the weights of a classifier, a file that does not
            fit its card.
        """
        home = resolve(path, kind=KIND)
        folders = _member_folders(home)
        loaded = [_load_member(folder) for folder in folders]
        card = loaded[0][1]
        post = PostProcessing(**card.postprocessing).replace(
            threshold=threshold,
            largest_component=largest_component,
            fill_holes=fill_holes,
            min_area=min_area,
        )
        folder = home if home.is_dir() else home.parent
        table = read_provenance(folder)
        return cls(
            [member for member, _ in loaded],
            [card for _, card in loaded],
            post,
            Provenance(table, len(loaded)),
            device,
            precision,
            load_quality(folder),
        )

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What decides the masks: weights, preprocessing, post-processing, algorithm versions."""
        card = self.cards[0]
        return {
            "segmenter": {
                "arch": dict(card.architecture),
                "weights_sha256": [card.sha256 for card in self.cards],
            },
            "preprocessing": dict(card.preprocessing),
            "postprocessing": self.postprocessing.to_dict(),
            "algorithm_versions": {
                "inference": INFERENCE_VERSION,
                "postprocessing": POSTPROCESSING_VERSION,
                "score": SCORE_VERSION,
            },
        }

    def predict(
        self, image: NDArray[np.uint8], image_id: str = "image", image_sha256: str = ""
    ) -> MaskEntry:
        """Return the mask of one image, by the mean of all members.

        Parameters
        ----------
        image : (H, W, 3) uint8 RGB
        image_id, image_sha256 : str
            Kept in the entry.

        Returns
        -------
        MaskEntry
            ``.mask()`` is (H, W) bool, ``.soft()`` (H, W) uint8, ``.score`` the confidence.
        """
        return self.predict_batch([image], [image_id], [image_sha256])[0]

    def predict_batch(
        self,
        images: Sequence[NDArray[np.uint8]],
        image_ids: Sequence[str] | None = None,
        image_sha256s: Sequence[str] | None = None,
        members: Sequence[int] | None = None,
    ) -> list[MaskEntry]:
        """Return the masks of some images, by the mean of `members` (all, when left out).

        Parameters
        ----------
        images : sequence of (H, W, 3) uint8 RGB
            Of any sizes.
        """
        chosen = tuple(range(len(self.members))) if members is None else tuple(members)
        ids = image_ids or [f"image_{number}" for number in range(len(images))]
        digests = image_sha256s or [""] * len(images)
        for image in images:
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise LesionError(
                    f"an image of shape {image.shape} and type {image.dtype}",
                    wanted="(H, W, 3) uint8 RGB",
                )
        pixels = np.stack([stretch(image, self.size) for image in images])
        maps = self.probabilities(pixels, chosen)
        label = str(chosen[0]) if len(chosen) == 1 else "mean"
        return [
            self.entry(p, image_id=i, image_sha256=d, shape=image.shape[:2], member=label)
            for p, i, d, image in zip(maps, ids, digests, images, strict=True)
        ]

    @torch.inference_mode()
    def probabilities(
        self, pixels: NDArray[np.uint8], members: Sequence[int] | None = None
    ) -> NDArray[np.uint8]:
        """Return probability maps at the working resolution, the mean of `members`.

        Parameters
        ----------
        pixels : (B, size, size, 3) uint8 RGB
            Stretched by `segstage.dataset.stretch`.
        members : sequence of int, optional

        Returns
        -------
        (B, size, size) uint8, probability * 255
        """
        chosen = range(len(self.members)) if members is None else members
        batch = torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device)
        total = torch.zeros(batch.shape[:3], device=self.device)
        with arithmetic(self.precision, self.device):
            for number in chosen:
                member = self.members[number]
                total += member(member.prepare(batch)).float().sigmoid()[:, 0]
        mean = total.mul_(255 / len(chosen)).round_().to(torch.uint8)
        return np.asarray(mean.cpu().numpy())

    def entry(
        self,
        probability: NDArray[np.uint8],
        *,
        image_id: str,
        image_sha256: str = "",
        shape: Sequence[int],
        member: str,
        in_sample: bool = False,
        expected: ExpectedSize = NO_SIZE,
    ) -> MaskEntry:
        """Return the cache entry of a (size, size) uint8 probability map: gated, judged, boxed.

        `expected` is the size of the lesion by other means, see `segstage.quality.tile_size`.
        """
        gated = self.postprocessing(probability)
        threshold = self.postprocessing.threshold
        quality, reason = None, ""
        if self.quality is not None or self.traits is not None:
            traits = mask_traits(probability, gated, threshold, None, *expected)
            if self.quality is not None:
                quality, reason = self.quality.judge(traits)
            if self.traits is not None:
                self.traits[image_id] = traits
        return MaskEntry.from_soft(
            image_id=image_id,
            image_sha256=image_sha256,
            shape=(int(shape[0]), int(shape[1])),
            payload=gated,
            threshold=threshold,
            score=confidence(probability, gated, threshold),
            member=member,
            in_sample=in_sample,
            quality=quality,
            reason=reason,
        )


def _member_folders(home: Path) -> list[Path]:
    """Return the folders of the members of a run, or `home` itself when it is one weight."""
    if home.is_dir() and (home / "run.json").is_file():
        run = Run.load(home, "segstage")
        return [run.member(number) for number in range(run.members)]
    return [home]


def _load_member(folder: Path) -> tuple[Segmenter, WeightCard]:
    state, card = load_weights(folder, kind=KIND)
    options = dict(card.architecture)
    member = create_segmenter(options.pop("name"), **options, encoder_weights="none")
    fill_network(member, state, folder)
    return member, card
