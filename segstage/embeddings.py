"""Embeddings of images, kept: a frozen encoder looks at each image once, whatever the epochs.

A file an image, ``<key>/<first two digits>/<sha256 of the image>.npy``, (C, h, w) float16, written
whole or not at all: a killed run goes on with what is there, and several runs share a folder. The
key is of everything that decides an embedding: the encoder's weights, the sizes, the
normalisation. With kept embeddings pictures are not augmented: SAM's positions and TinyViT's
padded windows make no flip of an embedding the embedding of the flipped picture. Prompts still
vary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lesioncore.devices import arithmetic, choose_device, choose_precision, choose_workers
from lesioncore.errors import LesionError
from lesioncore.files import PathLike, atomic_path, sha256_json, write_json
from lesioncore.loading import make_loader
from lesioncore.progress import log, track
from lesioncore.transforms import stretch_only
from segstage.dataset import ImageStream, SegmentationDataset
from segstage.models._registry import Segmenter
from segstage.teacher import Teacher

if TYPE_CHECKING:
    import pandas as pd

#: Raise it when the same encoder and image would give another embedding.
EMBEDDING_VERSION = 1


class EmbeddingStore:
    """Kept embeddings of one encoder at one working resolution.

    Parameters
    ----------
    folder : path
        Of any number of encoders.
    segmenter : Segmenter
        With `embedding_key`.
    size : int
        Working resolution: side to which images are stretched before the encoder sees them.
    digests : mapping of str to str
        Image id to the SHA-256 of its bytes.
    """

    def __init__(
        self, folder: PathLike, segmenter: Segmenter, size: int, digests: Mapping[str, str]
    ) -> None:
        facts = segmenter.embedding_key()
        if facts is None:
            raise LesionError(
                f"the embeddings of {segmenter.name} change while it learns",
                wanted="a segmenter with a frozen encoder (lite_medsam, sam, cascade; lora_rank 0)",
                mend="--embeddings off",
            )
        key = {"version": EMBEDDING_VERSION, "size": size, **facts}
        self.size = size
        self.folder = Path(folder) / sha256_json(key)[:16]
        self.digests = dict(digests)
        self._key = key

    def path(self, image_id: str) -> Path:
        """Return where the embedding of an image lies, or will."""
        digest = self.digests[image_id]
        return self.folder / digest[:2] / f"{digest}.npy"

    def read(self, image_id: str) -> NDArray[np.float16]:
        """Return the embedding of an image, (C, h, w) float16, mapped from its file."""
        return np.asarray(np.load(self.path(image_id), mmap_mode="c", allow_pickle=False))

    def fill(
        self,
        segmenter: Segmenter,
        manifest: pd.DataFrame,
        *,
        device: str = "auto",
        precision: str = "auto",
        workers: int = -1,
        batch_size: int = 4,
    ) -> int:
        """Embed the images that are not there yet; return how many those were.

        Raises
        ------
        LesionError
            An image cannot be read.
        """
        ids = manifest["image_id"].astype(str)
        missing = manifest[[not self.path(image_id).is_file() for image_id in ids]]
        if missing.empty:
            return 0
        log.info(
            "embedding %d images (%d are there already) in %s",
            len(missing),
            len(manifest) - len(missing),
            self.folder,
        )
        write_json(self.folder / "key.json", self._key)
        place = choose_device(device)
        mode = choose_precision(precision, place)
        was_training = segmenter.training
        segmenter.to(place).eval()
        names = missing["image_id"].astype(str).tolist()
        stream = ImageStream(missing["image"], self.size)
        loader = make_loader(stream, batch_size, workers=choose_workers(workers), collate=list)
        for batch in track(loader, "embedding"):
            for item in batch:
                if item.pixels is None:
                    raise LesionError(f"{names[item.row]}: {item.problem}")
            pixels = torch.from_numpy(np.stack([item.pixels for item in batch])).to(place)
            with torch.no_grad(), arithmetic(mode, place):
                found = segmenter.embed(segmenter.prepare(pixels))
            for item, one in zip(batch, found.half().cpu().numpy(), strict=True):
                with atomic_path(self.path(names[item.row])) as temporary:
                    np.save(temporary, np.ascontiguousarray(one))
        segmenter.to("cpu").train(was_training)
        return len(missing)


class EmbeddedDataset(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Image and mask at the working resolution, with the image's kept embedding (float16)."""

    def __init__(self, pairs: SegmentationDataset, store: EmbeddingStore, ids: Sequence[str]):
        self.pairs = pairs
        self.store = store
        self.ids = list(ids)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        image, mask = self.pairs[index]
        return image, mask, torch.from_numpy(self.store.read(self.ids[index]))


def embedded(
    rows: pd.DataFrame, store: EmbeddingStore, teacher: Teacher | None = None
) -> EmbeddedDataset:
    """Return the data set of some rows with their kept embeddings, unaugmented."""
    pairs = SegmentationDataset(rows, stretch_only(store.size), teacher)
    return EmbeddedDataset(pairs, store, rows["image_id"].astype(str).tolist())
