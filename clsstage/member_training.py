"""The training of one member of a run: network, data, fit, card, and its held-out predictions."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import lightning.pytorch as pl
import numpy as np
from numpy.typing import NDArray

from clsstage.classifier import Classifier, create_classifier, load_pretrained
from clsstage.config import TrainConfig
from clsstage.dataset import Jitter, LesionDataset, TrainingDataset
from clsstage.encoders import encoder_size
from clsstage.examples import Examples
from clsstage.focus_names import parse_focus
from clsstage.hard_negatives import HardNegatives, HardNegativeSampler
from clsstage.masks import MaskTrust, choose_masks
from clsstage.members import KIND, preprocessing, read_member
from clsstage.metadata import MetadataEncoder
from clsstage.predictor import LesionClassifier
from clsstage.priors import class_priors, first_bias, output_offset
from clsstage.sampling import ClassSampling, check_two_classes, choose_sampling
from clsstage.start import start_from
from clsstage.synthetic_rows import with_synthetic
from clsstage.targets import Target, create_target
from clsstage.task import MONITOR, ClassifierTask, Learning
from clsstage.view import View
from lesioncore.archives import archive_names
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

    from clsstage.crops import CropCache
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
    crops : CropCache, optional
        What is read in place of the images.
    """

    config: TrainConfig
    folder: Path
    number: int
    cache: MaskCache | None
    pinned: dict[str, Any] | None
    crops: CropCache | None = None

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
        real = training
        training, drawn = with_synthetic(real, config.synthetic)
        encoder = MetadataEncoder.fit(real.manifest, metadata_names(config))
        trust = MaskTrust(config.min_score, config.min_quality)
        target = create_target(config.target, training.policy)
        network, origin = new_classifier(config, encoder.width, target)
        view = View(
            config.focus,
            config.margin,
            config.blur,
            int(network.architecture["image_size"]),
            tuple(network.mean),
            tuple(network.std),
            mask_plane=config.mask_pool,
        )
        sampling = choose_sampling(real.labels, config.negative_ratio, config.positive_ratio)
        classes = target.truth(training.manifest, training.labels)
        priors = class_priors(target, classes, training.labels, sampling)
        task = self._fit(
            network,
            view,
            encoder,
            trust,
            sampling,
            priors,
            training,
            validation,
            target,
            classes,
            drawn,
        )
        card = WeightCard(
            name=f"{config.out.name} member {self.number}",
            kind=KIND,
            architecture=network.architecture,
            preprocessing=preprocessing(
                view,
                encoder,
                trust,
                target,
                output_offset(
                    config.loss, target, priors, sampling.prior_offset(training.labels, real.labels)
                ),
                training.policy,
                prevalence=float((real.labels == 1).mean()),
                masks=self.pinned,
            ),
            training_data=f"{len(real)} images of {' and '.join(archive_names(config))}"
            + (f" and {len(drawn)} synthetic ones" if drawn else "")
            + f"; {len(validation)} validated on; its test list ({config.test_list}) was held back",
            first_weights=asdict(origin),
            licence=f"that of {' and '.join(archive_names(config))}",
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
        priors: tuple[float, ...],
        training: Examples,
        validation: Examples,
        target: Target,
        classes: NDArray[np.int64],
        drawn: dict[str, str],
    ) -> ClassifierTask:
        config = self.config
        workers = choose_workers(config.workers)
        # The mask decoder learns from the mask, which the network itself may never see.
        learned = replace(view, mask_plane=view.mask_plane or config.aux_mask > 0)
        data = TrainingDataset(
            **self._seen(training, learned, encoder, trust, drawn),
            classes=classes,
            encoder=encoder,
            transform=classification_train(
                view.size, config.augment, resize=config.resize, seed=config.seed
            ),
            jitter=Jitter(
                frame=config.margin_jitter,
                metadata=config.metadata_dropout,
                modality=config.modality_dropout,
                mask=config.mask_jitter if view.needs_mask else 0.0,
                keep_outline=config.aux_mask > 0,
                late_resize=config.resize == "late",
            ),
        )
        seed = config.seed + self.number
        hard = HardNegatives(self.folder, len(training)) if config.hard_negatives else None
        sampler = (
            EpochSampler(lambda rng: sampling.rows(training.labels, rng), seed)
            if hard is None
            else HardNegativeSampler(sampling, training.labels, hard, config.hard_negatives, seed)
        )
        # Batch norm cannot learn from a last batch of one.
        loader = make_loader(
            data,
            config.batch_size,
            sampler=sampler,
            workers=workers,
            drop_last=len(sampler) > config.batch_size,
        )
        watched = LesionDataset(**self._seen(validation, view, encoder, trust))
        check = make_loader(watched, config.batch_size, workers=workers)
        # The prevalence of the epochs from the start, so that the first steps need not learn it.
        network.fusion.set_bias(first_bias(config.loss, priors))
        task = ClassifierTask(
            network,
            config,
            len(loader),
            Learning(
                target=target,
                loss=config.loss,
                priors=priors,
                ema=config.ema,
                label_smoothing=config.label_smoothing,
                mixup=config.mixup,
                aux_mask=config.aux_mask,
                encoder_lr_factor=config.encoder_lr_factor,
                layer_decay=config.layer_decay,
            ),
            hard,
        )
        fit(task, loader, check, folder=self.folder, options=config, monitor=MONITOR)
        if hard is not None:
            hard.forget()
        return task

    def _seen(
        self,
        part: Examples,
        view: View,
        encoder: MetadataEncoder,
        trust: MaskTrust,
        drawn: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Return what both data sets need to know of their images; `drawn` are synthetic ones."""
        ids = part.manifest["image_id"].tolist()
        choices = choose_masks(self.cache, ids, trust)
        if drawn:
            choices = choices.with_own(ids, drawn)
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
            "crops": self.crops,
            "own_masks": drawn or {},
            "labels": part.labels,
        }


def metadata_names(config: TrainConfig) -> list[str] | None:
    """Return the metadata that a config asks for; None where its fusion looks at none."""
    return None if config.fusion == "none" else cast("list[str] | None", config.metadata)


def new_classifier(
    config: TrainConfig, metadata_width: int, target: Target
) -> tuple[Classifier, ImageNetRecord]:
    """Return the untrained classifier of a config, and where its first weights came from."""
    network = create_classifier(
        config.fusion,
        encoder=config.encoder,
        metadata_width=metadata_width,
        in_channels=parse_focus(config.focus).channels,
        image_size=encoder_size(config.encoder) if config.size == "auto" else config.size,
        dropout=config.dropout,
        outputs=target.outputs,
        mask_pool=config.mask_pool,
    )
    if config.start is not None:
        return network, start_from(network, config.start)
    return network, load_pretrained(network, config.encoder_weights)
