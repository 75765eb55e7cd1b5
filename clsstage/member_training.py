"""The training of one member of a run: network, data, fit, card, and its held-out predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np

from clsstage.config import TrainConfig
from clsstage.dataset import Jitter, LesionDataset, TrainingDataset
from clsstage.examples import Examples
from clsstage.hard_negatives import HardNegatives, HardNegativeSampler
from clsstage.masks import choose_masks
from clsstage.members import KIND, preprocessing, read_member
from clsstage.plan import Plan, make_plan
from clsstage.predictor import LesionClassifier
from clsstage.sampling import check_two_classes
from clsstage.task import MONITOR, ClassifierTask
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
        pl.seed_everything(config.seed + self.number, verbose=False)
        plan = make_plan(config, training)
        task = self._fit(plan, validation)
        archives = " and ".join(archive_names(config))
        card = WeightCard(
            name=f"{config.out.name} member {self.number}",
            kind=KIND,
            architecture=plan.network.architecture,
            preprocessing=preprocessing(
                plan.view,
                plan.encoder,
                plan.trust,
                plan.target,
                plan.offset(config.loss),
                training.policy,
                prevalence=float((training.labels == 1).mean()),
                masks=self.pinned,
            ),
            training_data=f"{len(training)} images of {archives}"
            + (f" and {len(plan.own_masks)} synthetic ones" if plan.own_masks else "")
            + f"; {len(validation)} validated on; its test list ({config.test_list}) was held back",
            first_weights=asdict(plan.origin),
            licence=f"that of {archives}",
            limits="Single lesions on photographs like those it was trained on. A research tool, "
            "never a diagnosis.",
        )
        save_weights(self.folder, task.result.state_dict(), card)

    def _fit(self, plan: Plan, validation: Examples) -> ClassifierTask:
        config, view, labels = self.config, plan.view, plan.examples.labels
        workers = choose_workers(config.workers)
        # The mask decoder learns from the mask, which the network itself may never see.
        learned = replace(view, mask_plane=view.mask_plane or config.aux_mask > 0)
        data = TrainingDataset(
            **self._seen(plan, plan.examples, learned, plan.own_masks),
            classes=plan.classes,
            encoder=plan.encoder,
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
        shown = plan.sampling.counts(labels)[0]
        if config.hard_negatives and shown == int((labels == 0).sum()):
            log.warning(
                "--hard-negatives does nothing: every epoch shows all %d benign images "
                "(--negative-ratio N draws fewer)",
                shown,
            )
        hard = HardNegatives(self.folder, len(labels)) if config.hard_negatives else None
        sampler = (
            EpochSampler(lambda rng: plan.sampling.rows(labels, rng), seed)
            if hard is None
            else HardNegativeSampler(plan.sampling, labels, hard, config.hard_negatives, seed)
        )
        # Batch norm cannot learn from a last batch of one.
        loader = make_loader(
            data,
            config.batch_size,
            sampler=sampler,
            workers=workers,
            drop_last=len(sampler) > config.batch_size,
        )
        watched = LesionDataset(**self._seen(plan, validation, view))
        check = make_loader(watched, config.batch_size, workers=workers)
        task = ClassifierTask(plan.network, config, len(loader), plan.learning(config), hard)
        fit(task, loader, check, folder=self.folder, options=config, monitor=MONITOR)
        if hard is not None:
            hard.forget()
        return task

    def _seen(
        self,
        plan: Plan,
        part: Examples,
        view: View,
        own_masks: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Return what both data sets need to know of their images."""
        ids = part.manifest["image_id"].tolist()
        choices = choose_masks(self.cache, ids, plan.trust)
        if own_masks:
            choices = choices.with_own(ids, own_masks)
        if self.cache is not None:
            counts = choices.counts().items()
            log.info("masks: %s", ", ".join(f"{count} {status}" for status, count in counts))
        return {
            "image_ids": ids,
            "images": part.manifest["image"].tolist(),
            "metadata": plan.encoder.transform(part.manifest),
            "view": view,
            "cache": self.cache,
            "choices": choices,
            "crops": self.crops,
            "own_masks": own_masks,
            "labels": part.labels,
        }
