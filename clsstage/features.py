"""`clsstage features`: what networks make of focused images, for stacks and neighbours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clsstage.classifier import Classifier, create_classifier, load_pretrained
from clsstage.dataset import LesionDataset
from clsstage.encoders import encoder_size
from clsstage.feature_file import TEXT, FeatureWriter
from clsstage.features_config import FeaturesConfig
from clsstage.focus_names import parse_focus
from clsstage.masks import MaskChoices, MaskTrust, choose_masks, open_masks, snapshot
from clsstage.members import Member, read_members
from clsstage.prediction import out_of_fold_members, warn_in_sample
from clsstage.shortcuts import with_shortcuts
from clsstage.view import View
from lesioncore.cache.fingerprint import fingerprint_sha256, plain
from lesioncore.devices import arithmetic, choose_device, choose_precision, choose_workers
from lesioncore.files import atomic_path
from lesioncore.loading import make_loader
from lesioncore.progress import log, track
from lesioncore.readers import load_manifest
from lesioncore.runs import tool_version
from lesioncore.subsets import choose_subset

if TYPE_CHECKING:
    import pandas as pd

    from lesioncore.cache import MaskCache
    from lesioncore.devices import Precision


@dataclass(frozen=True)
class FeatureMaker:
    """Networks that see images alike, and what is taken of them.

    Attributes
    ----------
    name : str
        Of the classifier or the encoder.
    networks : dict of int to Classifier
        By number of the member.
    members : dict of int to Member
        The same with their metadata; empty for an encoder without training.
    view : View
    trust : MaskTrust
    layer : str
        `image` or `fused`.
    made_by : list of dict
        Of each network: what its weights are.
    """

    name: str
    networks: dict[int, Classifier]
    members: dict[int, Member]
    view: View
    trust: MaskTrust
    layer: str
    made_by: list[dict[str, Any]]

    @classmethod
    def trained(cls, config: FeaturesConfig) -> FeatureMaker:
        """Return the members that `weights` names."""
        name, found = read_members(config.weights)
        return cls(
            name,
            {member.number: member.network for member in found},
            {member.number: member for member in found},
            found[0].view,
            found[0].trust,
            config.chosen_layer,
            [{"weights_sha256": member.card.sha256} for member in found],
        )

    @classmethod
    def untrained(cls, config: FeaturesConfig) -> FeatureMaker:
        """Return the encoder that `encoder` names, with its ImageNet weights."""
        name = str(config.encoder)
        size = encoder_size(name) if config.size == "auto" else config.size
        network = create_classifier(
            "none",
            encoder=name,
            in_channels=parse_focus(config.focus).channels,
            image_size=size,
        )
        record = load_pretrained(network, config.encoder_weights)
        view = View(
            config.focus, config.margin, config.blur, size, tuple(network.mean), tuple(network.std)
        )
        return cls(
            name,
            {0: network.eval()},
            {},
            view,
            MaskTrust(config.min_score, config.min_quality),
            config.chosen_layer,
            [{"encoder": name, **asdict(record)}],
        )

    @torch.inference_mode()
    def compute(self, number: int, images: Tensor, metadata: Tensor) -> Tensor:
        """Return the features of a batch by one network, (B, F) float32 on the CPU.

        Parameters
        ----------
        number : int
            Of the member.
        images : (B, planes, S, S) float32
        metadata : (B, width) float32
            Encoded by that member.
        """
        network = self.networks[number]
        if self.layer == "fused":
            return network.features(images, metadata).float().cpu()
        seen = images[:, : network.architecture["in_channels"]]
        maps = network.encoder.forward_features(seen)  # type: ignore[operator]
        return network.encoder.forward_head(maps).float().cpu()  # type: ignore[operator, no-any-return]

    def metadata(self, number: int, manifest: pd.DataFrame) -> NDArray[np.float32]:
        """Return a manifest's metadata as a member reads it, (n, width)."""
        if not self.members:
            return np.zeros((len(manifest), 0), np.float32)
        return self.members[number].encoder.transform(manifest)

    def fingerprint(self, masks: dict[str, Any] | None, members: str) -> dict[str, Any]:
        """Return what the features depend on, as plain values."""
        return plain(
            {
                "networks": self.made_by,
                "layer": self.layer,
                "view": self.view.to_dict(),
                "trust": asdict(self.trust),
                "masks": masks,
                "members": members,
            }
        )


def features(config: FeaturesConfig) -> int:
    """Write the features of an archive; return 1 past `max_failed`.

    Raises
    ------
    LesionError
        No classifier or encoder weights, no images, or values too large for float16.
    """
    maker = FeatureMaker.untrained(config) if config.encoder else FeatureMaker.trained(config)
    asked = [c for member in maker.members.values() for c in member.encoder.columns]
    manifest = choose_subset(
        with_shortcuts(load_manifest(config), asked),
        config.subset,
        dataset=config.dataset,
        test_list=config.test_list,
        weights=config.weights,
    )
    assigned = _assigned(config, manifest)
    cache = None
    if config.masks is not None and maker.view.needs_mask:
        cache = open_masks(config.masks)
    elif maker.view.needs_mask:
        log.warning("no --masks: every image is seen whole, not by %s", maker.view.focus)
    ids = manifest["image_id"].tolist()
    choices = choose_masks(cache, ids, maker.trust)
    with atomic_path(config.out) as temporary, h5py.File(temporary, "w") as file:
        writer = FeatureWriter(file, len(ids), config.dtype)
        unread = _fill(writer, maker, config, manifest, cache, choices, assigned)
        pinned = None if cache is None else _pinned(cache, ids)
        fingerprint = maker.fingerprint(pinned, config.members)
        columns = _columns(maker, ids, choices, unread)
        attributes = {
            "layer": maker.layer,
            "focus": maker.view.focus,
            "model": maker.name,
            "tool_version": tool_version(),
            "fingerprint_sha256": fingerprint_sha256(fingerprint),
        }
        writer.finish(columns, assigned, attributes, fingerprint)
    counts = Counter(columns["mask_status"].tolist())
    log.info("masks: %s", ", ".join(f"{n} {status}" for status, n in counts.most_common()))
    log.info("wrote %s features of %d images to %s", maker.layer, len(ids), config.out)
    return _report(ids, unread, config.max_failed)


def _assigned(config: FeaturesConfig, manifest: pd.DataFrame) -> NDArray[np.int64]:
    """Return which member's features of each row are wanted; -1 for all."""
    if config.members == "out-of-fold":
        return out_of_fold_members(manifest, config.weights)
    if config.encoder is None:
        warn_in_sample(manifest, config.weights)
    return np.full(len(manifest), -1, np.int64)


def _fill(
    writer: FeatureWriter,
    maker: FeatureMaker,
    config: FeaturesConfig,
    manifest: pd.DataFrame,
    cache: MaskCache | None,
    choices: MaskChoices,
    assigned: NDArray[np.int64],
) -> NDArray[Any]:
    """Write the features of all rows; return why each has none, "" where it has."""
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    for network in maker.networks.values():
        network.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    unread = np.full(len(manifest), "", object)
    for number in np.unique(assigned).tolist():
        rows = np.flatnonzero(assigned == number)
        numbers = sorted(maker.networks) if number < 0 else [number]
        part = manifest.iloc[rows]
        codes = [maker.metadata(one, part) for one in numbers]
        dataset = LesionDataset(
            part["image_id"].tolist(),
            part["image"].tolist(),
            np.hstack(codes),
            maker.view,
            cache,
            MaskChoices([choices.status[r] for r in rows], [choices.reason[r] for r in rows]),
        )
        widths = [code.shape[1] for code in codes]
        for batch in _batches(dataset, config):
            inside = batch["row"].numpy()
            for row, reason in zip(inside.tolist(), batch["reason"], strict=True):
                unread[rows[row]] = reason
            read = np.array([not reason for reason in batch["reason"]], bool)
            for one, values in _computed(maker, numbers, batch, widths, device, precision):
                writer.put(one, rows[inside[read]], values[read])
    return unread


def _batches(dataset: LesionDataset, config: FeaturesConfig) -> Iterator[dict[str, Any]]:
    # Starting processes costs more than a few images take.
    many = len(dataset) > 4 * config.batch_size
    processes = choose_workers(config.workers) if many else 0
    loader = make_loader(dataset, config.batch_size, workers=processes)
    return track(loader, "features", total=len(loader))


def _computed(
    maker: FeatureMaker,
    numbers: Sequence[int],
    batch: dict[str, Any],
    widths: list[int],
    device: torch.device,
    precision: Precision,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    images = batch["image"].to(device, memory_format=torch.channels_last)
    codes = batch["metadata"].to(device).split(widths, dim=1)
    for number, code in zip(numbers, codes, strict=True):
        with arithmetic(precision, device):
            yield number, maker.compute(number, images, code).numpy()


def _pinned(cache: MaskCache, ids: Sequence[str]) -> dict[str, Any]:
    pinned = snapshot(cache, ids, cache.folder)
    return {name: pinned[name] for name in ("fingerprint", "count", "max_revision", "rows")}


def _columns(
    maker: FeatureMaker, ids: Sequence[str], choices: MaskChoices, unread: NDArray[Any]
) -> dict[str, NDArray[Any]]:
    """Return the text columns of the file."""
    failed = unread != ""
    needs = maker.view.needs_mask
    focused = choices.used if needs else np.ones(len(ids), bool)
    why = choices.reason if needs else [""] * len(ids)
    values = (
        np.array(ids, object),
        np.where(failed, "unread", np.array(choices.status, object)),
        np.where(failed, "none", np.where(focused, maker.view.focus, "full")),
        np.where(failed, unread, np.array(why, object)),
    )
    return dict(zip(TEXT, values, strict=True))


def _report(ids: Sequence[str], unread: NDArray[Any], max_failed: int) -> int:
    failed = np.flatnonzero(unread != "")
    for row in failed[:5].tolist():
        log.warning("%s: %s", ids[row], unread[row])
    if len(failed):
        log.warning("%d of %d images could not be read", len(failed), len(ids))
    return int(len(failed) > max_failed)
