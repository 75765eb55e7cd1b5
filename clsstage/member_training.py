"""The training of one member of a run: network, data, fit, card, and its held-out predictions."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import torch

from clsstage.classifier import Classifier, create_classifier, load_pretrained
from clsstage.config import TrainConfig
from clsstage.dataset import Jitter, LesionDataset, TrainingDataset
from clsstage.examples import Examples
from clsstage.focus_names import parse_focus
from clsstage.masks import MaskTrust, choose_masks
from clsstage.members import KIND, preprocessing, read_member
from clsstage.metadata import MetadataEncoder
from clsstage.predictor import LesionClassifier
from clsstage.sampling import ClassSampling, check_two_classes, choose_sampling
from clsstage.task import MONITOR, ClassifierTask
from clsstage.view import View
from lesioncore.devices import choose_device, choose_precision, choose_workers
from lesioncore.errors import LesionError
from lesioncore.files import read_table, write_table
from lesioncore.loading import EpochSampler, make_loader
from lesioncore.metrics import roc_auc
from lesioncore.progress import log
from lesioncore.runs import VALIDATION
from lesioncore.training import fit, forget_checkpoints, keeps_best
from lesioncore.transforms import classification_train
from weights.card import WeightCard
from weights.imagenet import ImageNetRecord
from weights.store import CARD, rewrite_card, save_weights

if TYPE_CHECKING:
    import pandas as pd

    from lesioncore.cache import MaskCache


@dataclass(frozen=True)
class MemberTraining:
    """The training of one member.

    Attributes
    ----------
    config : TrainConfig
    folder : Path
        Of the member.
    number : int
    cache : MaskCache or None
        Checked masks of all images.
    pinned : dict or None
        Their snapshot, kept in the card.
    """

    config: TrainConfig
    folder: Path
    number: int
    cache: MaskCache | None
    pinned: dict[str, Any] | None

    def run(self, training: Examples, validation: Examples) -> pd.DataFrame:
        """Return the member's predictions of its validation images; train first if needed."""
        path = self.folder / VALIDATION
        if path.is_file():
            log.info("member-%d is finished", self.number)
            return read_table(path, dtype={"image_id": str})
        config = self.config
        if not (self.folder / CARD).is_file():
            self._train(training, validation)
        device = choose_device(config.device)
        member = read_member(self.folder, self.number)
        classifier = LesionClassifier(
            [member], config.out.name, device, choose_precision(config.precision, device)
        )
        table = classifier.predict_table(
            validation.manifest,
            self.cache,
            member_of=np.full(len(validation), self.number),
            workers=config.workers,
        )
        unread = table["malignant"].isna()
        if unread.any():
            raise LesionError(
                f"{int(unread.sum())} validation images cannot be read: "
                f"{table.loc[unread, 'reason'].iloc[0]}",
                wanted="whole images",
                mend="repair or remove them and train into a new --out",
            )
        table.insert(1, "target", validation.labels)
        table.insert(2, "member", self.number)
        auc = round(float(roc_auc(validation.labels, table["malignant"])), 6)
        metrics = {"validation": {"n": len(validation), "auc": auc}}
        rewrite_card(self.folder, replace(member.card, metrics=metrics))
        write_table(path, table)
        forget_checkpoints(self.folder)
        return table

    def _train(self, training: Examples, validation: Examples) -> None:
        config = self.config
        check_two_classes(training.labels, "training images", training.policy)
        if keeps_best(config):
            check_two_classes(validation.labels, "validation images", training.policy)
        seed = config.seed + self.number
        pl.seed_everything(seed, verbose=False)
        columns = None if config.fusion == "none" else config.metadata
        encoder = MetadataEncoder.fit(training.manifest, columns)
        trust = MaskTrust(config.min_score, config.min_quality)
        network, origin = new_classifier(config, encoder.width)
        view = View(
            config.focus,
            config.margin,
            config.blur,
            config.size,
            tuple(network.mean),
            tuple(network.std),
        )
        sampling = choose_sampling(training.labels, config.negative_ratio, config.positive_ratio)
        task = self._fit(network, view, encoder, trust, sampling, training, validation)
        offset = sampling.prior_offset(training.labels)
        card = WeightCard(
            name=f"{config.out.name} member {self.number}",
            kind=KIND,
            architecture=network.architecture,
            preprocessing=preprocessing(
                view,
                encoder,
                trust,
                offset,
                training.policy,
                prevalence=float((training.labels == 1).mean()),
                masks=self.pinned,
            ),
            training_data=f"{len(training)} images of {config.dataset}; "
            f"{len(validation)} validated on; its test list ({config.test_list}) was held back",
            first_weights=asdict(origin),
            licence=f"that of {config.dataset}",
            limits="Single lesions on photographs like those it was trained on. A research tool, "
            "never a diagnosis.",
        )
        save_weights(self.folder, task.result.state_dict(), card)

    def _fit(
        self,
        network: Classifier,
        view: View,
        encoder: MetadataEncoder,
        trust: MaskTrust,
        sampling: ClassSampling,
        training: Examples,
        validation: Examples,
    ) -> ClassifierTask:
        config = self.config
        workers = choose_workers(config.workers)
        seen = [self._seen(part, view, encoder, trust) for part in (training, validation)]
        data = TrainingDataset(
            **seen[0],
            encoder=encoder,
            transform=classification_train(
                config.size, config.augment, resize=config.resize, seed=config.seed
            ),
            jitter=Jitter(config.margin_jitter, config.metadata_dropout, config.resize == "late"),
        )
        sampler = EpochSampler(
            lambda rng: sampling.rows(training.labels, rng), config.seed + self.number
        )
        # Batch norm cannot learn from a last batch of one.
        loader = make_loader(
            data,
            config.batch_size,
            sampler=sampler,
            workers=workers,
            drop_last=len(sampler) > config.batch_size,
        )
        check = make_loader(LesionDataset(**seen[1]), config.batch_size, workers=workers)
        # The prevalence of the epochs from the start, so that the first steps need not learn it.
        benign, malignant = sampling.counts(training.labels)
        network.fusion.set_bias(torch.tensor([np.log(malignant / benign)]))
        task = ClassifierTask(
            network,
            config,
            len(loader),
            ema=config.ema,
            label_smoothing=config.label_smoothing,
        )
        fit(task, loader, check, folder=self.folder, options=config, monitor=MONITOR)
        return task

    def _seen(
        self, part: Examples, view: View, encoder: MetadataEncoder, trust: MaskTrust
    ) -> dict[str, Any]:
        """Return what both data sets need to know of their images."""
        ids = part.manifest["image_id"].tolist()
        choices = choose_masks(self.cache, ids, trust)
        if self.cache is not None:
            counts = choices.counts().items()
            log.info("masks: %s", ", ".join(f"{count} {status}" for status, count in counts))
        return {
            "image_ids": ids,
            "images": part.manifest["image"].tolist(),
            "metadata": encoder.transform(part.manifest),
            "view": view,
            "cache": self.cache,
            "choices": choices,
            "labels": part.labels,
        }


def new_classifier(config: TrainConfig, metadata_width: int) -> tuple[Classifier, ImageNetRecord]:
    """Return the untrained classifier of a config, and where its first weights came from."""
    network = create_classifier(
        config.fusion,
        encoder=config.encoder,
        metadata_width=metadata_width,
        in_channels=parse_focus(config.focus).channels,
        image_size=config.size,
        dropout=config.dropout,
    )
    return network, load_pretrained(network, config.encoder_weights)
