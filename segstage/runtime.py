"""An exported segmenter at work: images in, cache entries out, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesioncore.cache.entry import MaskEntry
from lesioncore.errors import LesionError
from lesioncore.onnx_session import Engine, open_session
from segstage.entries import make_entry
from segstage.postprocess import PostProcessing
from segstage.quality import load_quality
from segstage.stretch import stretch


class RuntimeSegmenter:
    """What `LesionSegmenter` says of images, by an exported graph.

    Parameters
    ----------
    folder : Path
        Of `lesion export`, with `segmenter.onnx`.
    values : dict
        The segmenter's part of `bundle.json`.
    engine : str
        See `lesioncore.onnx_session.ENGINES`.
    threads : int
        0 leaves them to the engine.
    """

    def __init__(
        self, folder: Path, values: dict[str, Any], engine: Engine = "onnxruntime", threads: int = 0
    ) -> None:
        self.session = open_session(folder / values["graph"], engine, threads)
        self.size = int(values["size"])
        self.postprocessing = PostProcessing(**values["postprocessing"])
        self.quality = load_quality(folder)
        self.name = str(values["name"])
        self.label = str(values["member"])

    def predict(
        self, image: NDArray[np.uint8], image_id: str = "image", image_sha256: str = ""
    ) -> MaskEntry:
        """Return the mask of one image (H, W, 3) uint8 RGB."""
        return self.predict_batch([image], [image_id], [image_sha256])[0]

    def predict_batch(
        self,
        images: Sequence[NDArray[np.uint8]],
        image_ids: Sequence[str] | None = None,
        image_sha256s: Sequence[str] | None = None,
    ) -> list[MaskEntry]:
        """Return the masks of some images of any sizes, (H, W, 3) uint8 RGB each.

        Raises
        ------
        LesionError
            An array of another shape or type.
        """
        ids = image_ids or [f"image_{number}" for number in range(len(images))]
        digests = image_sha256s or [""] * len(images)
        for image in images:
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise LesionError(
                    f"an image of shape {image.shape} and type {image.dtype}",
                    wanted="(H, W, 3) uint8 RGB",
                )
        pixels = np.stack([stretch(image, self.size) for image in images])
        found = self.session({"image": pixels})
        maps = np.rint(found["probability"]).astype(np.uint8)
        return [
            make_entry(
                probability,
                self.postprocessing,
                self.quality,
                image_id=image_id,
                image_sha256=digest,
                shape=image.shape[:2],
                member=self.label,
                disagreement=None if apart < 0 else float(apart),
            )
            for probability, apart, image_id, digest, image in zip(
                maps, found["disagreement"], ids, digests, images, strict=True
            )
        ]
