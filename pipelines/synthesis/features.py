"""What the checks compare pictures by: pooled features of a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import Dataset

from lesioncore.devices import choose_device, choose_workers
from lesioncore.errors import LesionError
from lesioncore.loading import make_loader
from lesioncore.progress import track
from lesioncore.transforms import normalise

Read = Callable[[str], NDArray[np.uint8]]
_SIZE, _BATCH = 128, 16


@dataclass(frozen=True)
class _Network:
    network: nn.Module
    name: str
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class FeatureNetwork:
    """Pooled features, one row a picture.

    Parameters
    ----------
    weights : str
        Source of ImageNet weights for tf_efficientnet_lite0 (`weights.imagenet.load_imagenet`), or
        the folder of a trained classifier, whose encoder is then used.
    device : str

    Attributes
    ----------
    name : str
        For reports.

    Raises
    ------
    LesionError
        The weights cannot be had.
    """

    def __init__(self, weights: str, device: str) -> None:
        self._device = choose_device(device)
        self._made = (
            _of_classifier(Path(weights)) if Path(weights).is_dir() else _of_imagenet(weights)
        )
        self.name = self._made.name
        self._network: Any = self._made.network.to(self._device).eval()

    @torch.inference_mode()
    def of(
        self, names: list[str], read: Read, workers: int, what: str = "features"
    ) -> NDArray[np.float32]:
        """Return (n, F) float32 features.

        Parameters
        ----------
        names : list of str
        read : callable
            From a name to (H, W, 3) uint8 RGB.
        workers : int
            Loader processes; -1 chooses.
        what : str
            For the progress bar.
        """
        pictures = _Pictures(names, read, self._made)
        processes = min(choose_workers(workers), 1 + len(names) // _BATCH)
        rows = []
        for batch in track(make_loader(pictures, _BATCH, workers=processes), what):
            maps = self._network.forward_features(batch.to(self._device))
            pooled = self._network.forward_head(maps, pre_logits=True)
            rows.append(pooled.float().cpu().numpy())
        return np.concatenate(rows)


def _of_imagenet(source: str) -> _Network:
    import timm

    from weights.imagenet import OFFLINE_ARCHITECTURE, imagenet_preprocessing, load_imagenet

    torch.manual_seed(0)
    network = timm.create_model(OFFLINE_ARCHITECTURE, pretrained=False, num_classes=0)
    record = load_imagenet(network, OFFLINE_ARCHITECTURE, source)
    what = "random weights" if record.source == "none" else record.source
    mean, std = imagenet_preprocessing(OFFLINE_ARCHITECTURE)
    return _Network(network, f"{OFFLINE_ARCHITECTURE} ({what})", _SIZE, mean, std)


def _of_classifier(folder: Path) -> _Network:
    from clsstage.members import read_members

    name, members = read_members(folder)
    view, network = members[0].view, members[0].network
    if network.architecture["in_channels"] != 3:
        raise LesionError(
            f"the classifier {name} looks at a mask beside the picture",
            wanted="one whose encoder sees pictures alone",
            mend="another --feature-weights, or auto",
        )
    return _Network(network.encoder, f"classifier {name}", view.size, view.mean[:3], view.std[:3])


class _Pictures(Dataset[torch.Tensor]):
    def __init__(self, names: list[str], read: Read, made: _Network) -> None:
        self._names, self._read = names, read
        self._size, self._mean, self._std = made.size, made.mean, made.std

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, at: int) -> torch.Tensor:
        picture = cv2.resize(
            self._read(self._names[at]), (self._size, self._size), interpolation=cv2.INTER_AREA
        )
        return torch.from_numpy(normalise(np.asarray(picture, np.uint8), self._mean, self._std))
