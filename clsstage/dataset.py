"""Items for the network: focused image, metadata, label. Plain arrays, no tables inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from clsstage.crops.crop import crop_source
from clsstage.crops.source import read_drawn, read_source
from clsstage.mask_jitter import jitter_mask
from clsstage.masks import MaskChoices
from clsstage.metadata import MetadataEncoder
from clsstage.view import View
from lesioncore.cache.entry import MaskEntry
from lesioncore.errors import LesionError
from lesioncore.transforms import JointTransform

if TYPE_CHECKING:
    from clsstage.crops.cache import CropCache
    from lesioncore.cache import MaskCache


class LesionDataset(Dataset[dict[str, Any]]):
    """Images of an archive as a classifier sees them.

    Items are dicts: `image` (planes, S, S) float32, `metadata` (width,) float32, `row` int,
    `mask_known` bool (the mask was used), `reason` str (empty, or why the image could not be read:
    then `image` is zeros), and where labels were given `target` 0.0 or 1.0 and `class`.

    Parameters
    ----------
    image_ids, images : sequences of n str
        Ids, and paths or `store.hdf5::key`.
    metadata : (n, width) float32
        Encoded metadata.
    view : View
        How the network sees an image.
    cache : MaskCache, optional
        Where the masks are.
    choices : MaskChoices, optional
        Which of them are used; left out, none.
    labels : (n,) float, optional
        1 malignant, 0 benign.
    classes : (n,) int, optional
        Number of each image's class; left out, the label.
    crops : CropCache, optional
        Read in place of images and masks.
    """

    def __init__(
        self,
        image_ids: Sequence[str],
        images: Sequence[str],
        metadata: NDArray[np.float32],
        view: View,
        cache: MaskCache | None = None,
        choices: MaskChoices | None = None,
        *,
        labels: NDArray[np.floating] | None = None,
        classes: NDArray[np.integer] | None = None,
        crops: CropCache | None = None,
        own_masks: Mapping[str, str] | None = None,
    ) -> None:
        self.image_ids = list(image_ids)
        self.images = list(images)
        self.metadata = metadata
        self.view = view
        self.cache = cache
        self.crops = crops
        self.own_masks = own_masks or {}
        use = choices is not None and view.needs_mask and (cache is not None or self.own_masks)
        self.used = choices.used if use and choices else np.zeros(len(self.images), bool)
        self.labels = None if labels is None else labels.astype(np.float32)
        self.classes = labels if classes is None else classes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> dict[str, Any]:
        reason = ""
        try:
            image = self._tensor(row)
        except LesionError as error:
            # Kept as an item: an error raised in a loader worker loses its type on the way.
            side = self.view.size
            image = np.zeros((self.view.planes, side, side), np.float32)
            reason = error.found
        item = {
            "image": torch.from_numpy(image),
            "metadata": torch.from_numpy(self._metadata(row)),
            "row": row,
            "mask_known": bool(self.used[row]),
            "reason": reason,
        }
        if self.labels is not None and self.classes is not None:
            item["target"] = self.labels[row]
            item["class"] = int(self.classes[row])
        return item

    def _load(self, row: int) -> tuple[NDArray[np.uint8], MaskEntry | None]:
        own = self._own(row)
        if own is not None:
            return read_drawn(self.image_ids[row], self.images[row], own)
        if self.crops is not None:
            return crop_source(self.crops.read(self.image_ids[row]))
        cache = self.cache if self.used[row] else None
        source = read_source(self.image_ids[row], self.images[row], cache)
        return source.image, source.mask

    def _own(self, row: int) -> str | None:
        """Return the file of the mask that came with a synthetic image."""
        return self.own_masks.get(self.image_ids[row])

    def _tensor(self, row: int) -> NDArray[np.float32]:
        return self.view.see(*self._load(row))

    def _metadata(self, row: int) -> NDArray[np.float32]:
        return self.metadata[row]


@dataclass(frozen=True)
class Jitter:
    """What training varies beside the augmentation of the picture.

    Parameters
    ----------
    frame : float
        Margin and place of a crop vary by this part of the margin.
    metadata : float
        Probability with which a metadata value is hidden.
    modality : float
        Probability with which all metadata of an image is hidden.
    mask : float
        Probability with which a mask gets a random error; see `clsstage.mask_jitter`.
    keep_outline : bool
        Errors move the frame only: the outline is what the network learns.
    late_resize : bool
        Resize after the augmentation rather than before.
    """

    frame: float = 0.0
    metadata: float = 0.0
    modality: float = 0.0
    mask: float = 0.0
    keep_outline: bool = False
    late_resize: bool = False


class TrainingDataset(LesionDataset):
    """`LesionDataset` with augmentation and jitter.

    Draws come from one generator that `reseed` sets; a loader reseeds it each epoch and worker.
    """

    def __init__(
        self,
        *args: Any,
        encoder: MetadataEncoder,
        transform: JointTransform,
        jitter: Jitter,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.encoder = encoder
        self.transform = transform
        self.jitter = jitter
        self.reseed(0)

    def reseed(self, seed: int) -> None:
        """Start the draws anew from `seed`."""
        self._rng = np.random.default_rng([seed, 1])
        self.transform.reseed(seed)

    def _tensor(self, row: int) -> NDArray[np.float32]:
        image, mask = self._load(row)
        part, margin = self.jitter.frame, self.view.margin
        shift = (0.0, 0.0)
        if self.jitter.mask and mask is not None and self._rng.random() < self.jitter.mask:
            wrong = jitter_mask(mask, self._rng)
            if not self.jitter.keep_outline:
                mask = wrong
                # A synthetic image is whole already.
                if wrong is None and self.crops is not None and not self._own(row):
                    image = self.crops.read_whole(self.image_ids[row])
            elif wrong is not None:
                mask = replace(mask, box=wrong.box)
        if part and mask is not None and self.view.names.frame != "full":
            # A lesion with a margin stays inside; of a bare crop a twentieth may be cut.
            margin *= 1.0 + self._rng.uniform(-part, part)
            reach = 0.5 * part * margin / (1.0 + 2.0 * margin)
            shift = (self._rng.uniform(-reach, reach), self._rng.uniform(-reach, reach))
        picture = self.view.picture(
            image, mask, margin=margin, shift=shift, late=self.jitter.late_resize
        )
        return self.view.tensor(picture, self.transform)

    def _metadata(self, row: int) -> NDArray[np.float32]:
        code = self.metadata[row]
        if self.jitter.modality and self._rng.random() < self.jitter.modality:
            return self.encoder.hidden()
        if self.jitter.metadata:
            code = self.encoder.hide(code, self.jitter.metadata, self._rng)
        return code
