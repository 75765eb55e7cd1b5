"""A promptable network beside a person who draws: it sees an image once, then answers quickly."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lesioncore import geometry
from lesioncore.cache import threshold_level
from lesioncore.devices import choose_device
from lesioncore.errors import LesionError
from lesioncore.files import PathLike
from segstage.ensemble import load_run
from segstage.models import create_segmenter
from segstage.models._prompted import PromptedSegmenter
from segstage.postprocess import PostProcessing
from segstage.prompts import Box, Point, Prompt, clicked_box, saliency
from segstage.stretch import stretch

#: Images whose embeddings are kept, the last ones; of LiteMedSAM 2 MiB each.
KEPT = 48


@dataclass(frozen=True)
class _Seen:
    embedding: Tensor
    distance: NDArray[np.float32]
    shape: tuple[int, int]


class MaskAssistant:
    """Masks from clicks and boxes. May be used by several threads.

    Parameters
    ----------
    segmenter : PromptedSegmenter
    size : int
        Working resolution: side to which images are stretched before the network sees them.
    device : str
        See `lesioncore.devices`.
    """

    def __init__(self, segmenter: PromptedSegmenter, size: int, device: str = "auto") -> None:
        self.device = choose_device(device)
        self.segmenter = segmenter.to(self.device).eval()
        self.size = size
        self._clean = PostProcessing()
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._one_at_a_time = threading.Lock()

    @classmethod
    def load(cls, path: PathLike | None = None, device: str = "auto") -> MaskAssistant:
        """Return the assistant of a run of `lite_medsam` or `sam`; None takes LiteMedSAM as it is.

        Raises
        ------
        LesionError
            Its weights are not installed, or the run is of a segmenter that takes no prompts.
        """
        if path is None:
            network = create_segmenter("lite_medsam", tune="none")
            assert isinstance(network, PromptedSegmenter)
            return cls(network, network.image_size, device)
        run = load_run(path)
        member = run.members[0]
        if not isinstance(member, PromptedSegmenter):
            raise LesionError(
                f"{path} is a run of {member.name}, which takes no clicks or boxes",
                wanted="a run of lite_medsam or sam",
            )
        return cls(member, run.size, device)

    def look(self, key: str, image: Callable[[], NDArray[np.uint8]]) -> None:
        """See an image before anybody clicks: embed it, unless that is kept.

        Parameters
        ----------
        key : str
            Names the image's bytes.
        image : callable
            Returns (H, W, 3) uint8 RGB.
        """
        self._look(key, image)

    def mask(
        self,
        key: str,
        image: Callable[[], NDArray[np.uint8]],
        *,
        box: Box | None = None,
        inside: Sequence[Point] = (),
        outside: Sequence[Point] = (),
    ) -> NDArray[np.bool_]:
        """Return the mask (H, W) bool of a box, or of the box that clicks speak of.

        Parameters
        ----------
        key, image
            See `look`.
        box : (y0, x0, y1, x1), optional
            In fractions of the picture.
        inside, outside : sequence of (y, x)
            Clicks on the lesion and beside it, in the same fractions; see
            `segstage.prompts.clicked_box`.
        """
        seen = self._look(key, image)
        area = clicked_box(seen.distance, inside, outside) if box is None else box
        prompt = Prompt(area, inside[0] if inside else None)
        with self._one_at_a_time, torch.inference_mode():
            logits = self.segmenter.decode(seen.embedding.to(self.device), [prompt])
            small = logits.float().sigmoid()[0, 0].cpu().numpy()
        cleaned = self._clean(np.round(small * 255).astype(np.uint8))
        whole = geometry.inverse_resize(cleaned, seen.shape)
        return np.asarray(whole >= threshold_level(self._clean.threshold))

    def _look(self, key: str, image: Callable[[], NDArray[np.uint8]]) -> _Seen:
        # A second click meanwhile waits for the first one's embedding, it does not make another.
        with self._one_at_a_time:
            if key in self._seen:
                self._seen.move_to_end(key)
                return self._seen[key]
            pixels = image()
            small = stretch(pixels, self.size)
            with torch.inference_mode():
                ready = self.segmenter.prepare(torch.from_numpy(small)[None].to(self.device))
                embedding = self.segmenter.embed(ready).half().cpu()
            shape = (pixels.shape[0], pixels.shape[1])
            self._seen[key] = _Seen(embedding, saliency(small), shape)
            while len(self._seen) > KEPT:
                self._seen.popitem(last=False)
            return self._seen[key]
