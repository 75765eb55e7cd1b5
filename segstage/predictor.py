"""A trained segmenter at work: images in, cache entries out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lesioncore.cache import MaskEntry
from lesioncore.devices import arithmetic, choose_device, choose_precision
from lesioncore.errors import LesionError
from segstage.ensemble import KIND, JointProvenance, SegmenterRun, load_run, refuse_twice
from segstage.entries import make_entry
from segstage.models._registry import Segmenter
from segstage.postprocess import POSTPROCESSING_VERSION, SCORE_VERSION, PostProcessing
from segstage.quality import NO_SIZE, ExpectedSize
from segstage.stretch import stretch
from segstage.views import at_size, disagreement
from weights.card import WeightCard
from weights.provenance import Provenance

__all__ = ["INFERENCE_VERSION", "KIND", "LesionSegmenter"]

#: Part of every fingerprint: raise it when the same weights would give other probabilities.
INFERENCE_VERSION = 1
# On a CPU a batch goes through the network in parts. Activations of this many 192-pixel images stay
# under the 32 MB from which glibc gives every buffer back to the kernel and faults it in anew.
_CPU_PIXELS = 8 * 192 * 192


class LesionSegmenter:
    """One or more members that segment lesions together.

    Parameters
    ----------
    runs : sequence of SegmenterRun
        Each with members of one architecture and input size. Within a run members count alike, and
        so do the runs.
    postprocessing : PostProcessing, optional
        Left out, that of the first run's card.
    device, precision : str
        See `lesioncore.devices`.

    Notes
    -----
    Maps of several runs are brought to the size of the largest, which is that of the payload.
    Quality is judged by the first run's model. The fingerprint does not hold device and precision:
    in bf16 a probability may differ by 1/255.
    """

    def __init__(
        self,
        runs: Sequence[SegmenterRun],
        postprocessing: PostProcessing | None = None,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.runs = list(runs)
        self.cards: list[WeightCard] = [card for run in runs for card in run.cards]
        self.members: list[Segmenter] = [
            member.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
            for run in runs
            for member in run.members
        ]
        self._run_of = [number for number, run in enumerate(runs) for _ in run.members]
        self.postprocessing = postprocessing or PostProcessing(**self.cards[0].postprocessing)
        self.provenance: Provenance | JointProvenance = (
            runs[0].provenance
            if len(runs) == 1
            else JointProvenance([run.provenance for run in runs])
        )
        #: Sides in pixels to which images are stretched; the largest is that of the payload.
        self.sizes = tuple(sorted({run.size for run in runs}))
        self.size = self.sizes[-1]
        self.quality = runs[0].quality
        #: Where it is a dict, `entry` keeps the traits of each mask in it, by image id.
        self.traits: dict[str, dict[str, float]] | None = None

    @classmethod
    def load(
        cls,
        path: str | PathLike[str] | Sequence[str | PathLike[str]] | None = None,
        device: str = "auto",
        precision: str = "auto",
        *,
        tta: str | None = None,
        threshold: float | None = None,
        largest_component: bool | None = None,
        fill_holes: bool | None = None,
        min_area: float | None = None,
    ) -> LesionSegmenter:
        """Return the segmenter of a run folder (all members), a weights folder or a shipped name.

        Parameters
        ----------
        path : path, str, a sequence of them, or None
            Several segment together; None takes the weights that ship.
        device, precision : str
        tta : str, optional
            Views to average over ("none", "flips", "d4"); left out, what each card says.
        threshold, largest_component, fill_holes, min_area : optional
            Post-processing other than the (first) run was trained with, see `PostProcessing`.

        Raises
        ------
        LesionError
            No weights there, an unfinished run, the weights of a classifier, a file that does not
            fit its card, the same run twice.
        """
        alone = path is None or isinstance(path, str | PathLike)
        paths: list[Any] = [path] if alone else [*path] or [None]  # type: ignore[misc]
        refuse_twice([one for one in paths if one is not None])
        runs = [load_run(one, tta) for one in paths]
        post = PostProcessing(**runs[0].cards[0].postprocessing).replace(
            threshold=threshold,
            largest_component=largest_component,
            fill_holes=fill_holes,
            min_area=min_area,
        )
        return cls(runs, post, device, precision)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What decides the masks: weights, preprocessing, post-processing, algorithm versions."""
        first = self.runs[0]
        made_by: dict[str, Any] = {
            "segmenter": first.identity,
            "preprocessing": first.preprocessing,
        }
        if len(self.runs) > 1:
            each = [{**run.identity, "preprocessing": run.preprocessing} for run in self.runs]
            made_by = {"segmenter": {"runs": each}, "preprocessing": {"size": self.size}}
        return {
            **made_by,
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
        pixels = {size: np.stack([stretch(image, size) for image in images]) for size in self.sizes}
        maps, apart = self.maps(pixels, chosen)
        label = "mean" if len(chosen) > 1 else str(chosen[0])
        return [
            self.entry(
                p, image_id=i, image_sha256=d, shape=image.shape[:2], member=label, disagreement=a
            )
            for p, a, i, d, image in zip(maps, apart, ids, digests, images, strict=True)
        ]

    @torch.inference_mode()
    def maps(
        self, pixels: Mapping[int, NDArray[np.uint8]], members: Sequence[int] | None = None
    ) -> tuple[NDArray[np.uint8], list[float | None]]:
        """Return probability maps at the working resolution, and how far they lie apart.

        Parameters
        ----------
        pixels : dict of int to (B, size, size, 3) uint8 RGB
            For each of `sizes`, stretched by `segstage.stretch.stretch`.
        members : sequence of int, optional
            Numbered through all runs; left out, all.

        Returns
        -------
        maps : (B, size, size) uint8, probability * 255
            The mean of the members' views within each run, then of the runs.
        disagreement : list of float or None
            See `segstage.views.disagreement`; None for one map of one member.
        """
        chosen = range(len(self.members)) if members is None else members
        count = len(pixels[self.size])
        part = max(1, _CPU_PIXELS // self.size**2) if self.device.type == "cpu" else count
        done = [
            self._part({size: whole[at : at + part] for size, whole in pixels.items()}, chosen)
            for at in range(0, count, part)
        ]
        return np.concatenate([maps for maps, _ in done]), [one for _, far in done for one in far]

    def _part(
        self, pixels: Mapping[int, NDArray[np.uint8]], chosen: Sequence[int]
    ) -> tuple[NDArray[np.uint8], list[float | None]]:
        by_run: dict[int, list[Tensor]] = {}
        with arithmetic(self.precision, self.device):
            for number in chosen:
                run = self.runs[self._run_of[number]]
                batch = torch.from_numpy(np.ascontiguousarray(pixels[run.size])).to(self.device)
                ready = self.members[number].prepare(batch)
                by_run.setdefault(self._run_of[number], []).extend(
                    view.back(self.members[number](view.of(ready)).float().sigmoid()[:, 0])
                    for view in run.views
                )
        voters = [at_size(one, self.size) for maps in by_run.values() for one in maps]
        if len(by_run) == 1:
            total, count = voters[0], len(voters)
            for one in voters[1:]:
                total = total + one
        else:
            means = [at_size(torch.stack(maps).mean(0), self.size) for maps in by_run.values()]
            total, count = torch.stack(means).sum(0), len(means)
        apart = disagreement(voters)
        maps = (total * (255 / count)).round_().to(torch.uint8).cpu().numpy()
        return np.asarray(maps), [None] * len(maps) if apart is None else apart.tolist()

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
        disagreement: float | None = None,
    ) -> MaskEntry:
        """Return the cache entry of a (size, size) uint8 probability map: gated, judged, boxed.

        `expected` is the size of the lesion by other means, see `segstage.quality.tile_size`.
        """
        return make_entry(
            probability,
            self.postprocessing,
            self.quality,
            image_id=image_id,
            image_sha256=image_sha256,
            shape=shape,
            member=member,
            in_sample=in_sample,
            expected=expected,
            disagreement=disagreement,
            traits=self.traits,
        )
