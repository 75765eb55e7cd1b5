"""From images to probabilities: one image at a time, or a whole manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from clsstage.calibrated import calibrated_table
from clsstage.calibration import chosen_calibration
from clsstage.dataset import LesionDataset
from clsstage.masks import MaskChoices, choose_masks
from clsstage.members import Member, read_members
from clsstage.one_image import ImageClassifier
from clsstage.shortcuts import with_shortcuts
from lesioncore.calibration import Calibration
from lesioncore.devices import (
    Precision,
    arithmetic,
    choose_device,
    choose_precision,
    choose_workers,
)
from lesioncore.errors import LesionError
from lesioncore.loading import make_loader
from lesioncore.progress import track

if TYPE_CHECKING:
    import pandas as pd

    from lesioncore.cache import MaskCache

COLUMNS = ("image_id", "malignant", "mask_status", "focus", "model", "reason", "missing")


class LesionClassifier(ImageClassifier):
    """A trained classifier: the mean of its members' probabilities.

    Make one with `LesionClassifier.load(path)`.
    """

    members: list[Member]

    def __init__(
        self,
        members: Sequence[Member],
        name: str,
        device: torch.device,
        precision: Precision = "fp32",
        calibration: Calibration | None = None,
    ) -> None:
        if not members:
            raise LesionError("a classifier without members", wanted="one or more")
        self.members = list(members)
        self.name = name
        self.device = device
        self.precision = precision
        self.calibration = calibration
        for member in self.members:
            member.network.to(device).to(memory_format=torch.channels_last).eval()

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        device: str = "auto",
        precision: str = "auto",
        *,
        calibration: str = "auto",
        prevalence: float | None = None,
    ) -> LesionClassifier:
        """Return the classifier of a run folder, of a folder or file of weights, or that ships.

        Parameters
        ----------
        path : path or str, optional
        device, precision : str
        calibration : str
            "auto" (what the run or the weights hold), "none", or a file.
        prevalence : float, optional
            Of malignancy where the images are from; probabilities are moved to it.

        Raises
        ------
        LesionError
            No classifier there, or an unfinished run; no such calibration.
        """
        chosen = choose_device(device)
        name, members = read_members(path)
        means = chosen_calibration(calibration, prevalence, path, name, members)
        return cls(members, name, chosen, choose_precision(precision, chosen), means)

    def _chances(
        self, picture: NDArray[np.uint8], codes: Sequence[NDArray[np.float32]], views: int | None
    ) -> NDArray[np.float64]:
        tensor = torch.from_numpy(self.members[0].view.tensor(picture))[None].to(self.device)
        found = []
        for member, code in zip(self.members, codes, strict=True):
            metadata = torch.from_numpy(code)[None].to(self.device)
            with arithmetic(self.precision, self.device):
                found.append(member.probabilities(tensor, metadata, views)[0].tolist())
        return np.mean(found, axis=0)  # type: ignore[no-any-return]

    def predict_table(
        self,
        manifest: pd.DataFrame,
        cache: MaskCache | None = None,
        *,
        member_of: NDArray[np.int64] | None = None,
        views: int | None = None,
        batch_size: int = 64,
        workers: int = -1,
    ) -> pd.DataFrame:
        """Return the predictions of every row of a manifest, in its order.

        Parameters
        ----------
        manifest : DataFrame
            See `lesioncore.records`.
        cache : MaskCache, optional
            Masks of these images; what it lacks is seen whole.
        member_of : (n,) int, optional
            Which member predicts each row; -1 for the mean of all. Said, the scores stay as they
            are: the calibration is that of the mean, and was fitted on scores of single members.
        views : int, optional
            As of `predict`.
        batch_size, workers : int

        Returns
        -------
        DataFrame
            Columns `image_id, malignant, mask_status, focus, model, reason, missing` (metadata that
            the row lacks), with a calibration those of `clsstage.calibrated`, and of a classifier
            of diagnoses `p_<class>`. An image that could not be read has no probability, the
            mask_status `unread`, and a reason.
        """
        import pandas as pd

        manifest = with_shortcuts(manifest, self.metadata_columns)
        ids = manifest["image_id"].tolist()
        view = self.members[0].view
        choices = choose_masks(cache, ids, self.members[0].trust)
        if not view.needs_mask:
            choices = MaskChoices(choices.status, [""] * len(ids))
        assigned = np.full(len(ids), -1) if member_of is None else np.asarray(member_of)
        chance = np.full((len(ids), 1 + len(self.target.classes)), np.nan)
        unread = np.full(len(ids), "", object)
        for number in np.unique(assigned):
            rows = np.flatnonzero(assigned == number)
            chosen = self.members if number < 0 else [self._member(int(number))]
            part = manifest.iloc[rows]
            dataset = LesionDataset(
                part["image_id"].tolist(),
                part["image"].tolist(),
                np.hstack([member.encoder.transform(part) for member in chosen]),
                view,
                cache,
                MaskChoices([choices.status[r] for r in rows], [choices.reason[r] for r in rows]),
            )
            found, why = self._predict(chosen, dataset, views, batch_size, workers)
            chance[rows], unread[rows] = found, why
        focused = choices.used if view.needs_mask else np.ones(len(ids), bool)
        failed = unread != ""
        table = pd.DataFrame(
            {
                "image_id": ids,
                "malignant": chance[:, 0],
                "mask_status": np.where(failed, "unread", np.array(choices.status, object)),
                "focus": np.where(failed, "none", np.where(focused, view.focus, "full")),
                "model": [self.name if n < 0 else f"{self.name}/member-{n}" for n in assigned],
                "reason": np.where(failed, unread, np.array(choices.reason, object)),
                "missing": self._missing(manifest),
                **{f"p_{name}": chance[:, k + 1] for k, name in enumerate(self.target.classes)},
            }
        )
        if self.calibration is None or member_of is not None:
            return table
        return calibrated_table(table, self.calibration, self.target)

    def _missing(self, manifest: pd.DataFrame) -> list[str]:
        """Return the metadata that each row lacks, names with a space between."""
        columns = self.metadata_columns
        known = [
            manifest[name].notna().to_numpy() if name in manifest else np.zeros(len(manifest), bool)
            for name in columns
        ]
        if not columns:
            return [""] * len(manifest)
        lacking = ~np.stack(known, axis=1)
        return [" ".join(np.array(columns, object)[row]) for row in lacking]

    def _member(self, number: int) -> Member:
        return next(member for member in self.members if member.number == number)

    def _predict(
        self,
        members: Sequence[Member],
        dataset: LesionDataset,
        views: int | None,
        batch_size: int,
        workers: int,
    ) -> tuple[NDArray[np.float64], list[str]]:
        """Return the mean probabilities of each item, (n, 1 + classes), and why it has none."""
        widths = [member.encoder.width for member in members]
        chance = np.full((len(dataset), 1 + len(self.target.classes)), np.nan)
        reasons = [""] * len(dataset)
        # Starting processes costs more than a few images take.
        processes = choose_workers(workers) if len(dataset) > 4 * batch_size else 0
        loader = make_loader(dataset, batch_size, workers=processes)
        for batch in track(loader, "classifying", total=len(loader)):
            images = batch["image"].to(
                self.device, non_blocking=True, memory_format=torch.channels_last
            )
            codes = batch["metadata"].to(self.device, non_blocking=True).split(widths, dim=1)
            with arithmetic(self.precision, self.device):
                found = [
                    member.probabilities(images, code, views)
                    for member, code in zip(members, codes, strict=True)
                ]
            rows = batch["row"].numpy()
            chance[rows] = torch.stack(found).double().mean(0).numpy()
            for row, reason in zip(rows.tolist(), batch["reason"], strict=True):
                if reason:
                    reasons[row], chance[row] = reason, np.nan
        return chance, reasons
