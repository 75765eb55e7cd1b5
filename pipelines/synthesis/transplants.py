"""Transplants by number: which donor, which recipient, and again until one looks right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from torch.utils.data import Dataset

from lesioncore.devices import choose_workers
from lesioncore.errors import LesionError
from lesioncore.loading import make_loader
from pipelines.synthesis.folder import Drawn, Item
from pipelines.synthesis.material import Material
from pipelines.synthesis.transplant import Unfit, transplant

if TYPE_CHECKING:
    import pandas as pd

# Several recipients a donor, so that large and low-contrast lesions are not merely passed over.
_DONORS, _RECIPIENTS = 8, 10


def check_parents(material: Material) -> None:
    """Refuse material without a donor, or without a recipient of another patient and lesion.

    Raises
    ------
    LesionError
    """
    counts = material.counts()
    listed = ", ".join(f"{count} {name}" for name, count in counts.items())
    if material.donors.empty:
        raise LesionError(
            f"no malignant donor: {listed}",
            wanted="a malignant training image with a trusted mask that does not touch the "
            f"picture's border (policy {material.policy!r})",
            mend="another --policy, --fold or --min-quality",
        )
    if material.recipients.empty or (
        set(material.recipients["group"]) == set(material.donors["group"])
        and material.donors["group"].nunique() == 1
    ):
        raise LesionError(
            f"no benign recipient: {listed}",
            wanted="a benign training image of another patient, with a trusted mask of a lesion "
            "that leaves skin around it",
            mend="another --fold or --min-quality",
        )


def draw_transplants(
    material: Material, numbers: list[int], seed: int, workers: int
) -> Iterator[Drawn]:
    """Yield the images of these numbers, in order, made by loader processes."""
    processes = min(choose_workers(workers), len(numbers))
    yield from make_loader(
        _Transplants(material, numbers, seed), 1, workers=processes, collate=_only
    )


def _only(batch: list[Drawn]) -> Drawn:
    return batch[0]


class _Transplants(Dataset[Drawn]):
    def __init__(self, material: Material, numbers: list[int], seed: int) -> None:
        self.material = material
        self.numbers = numbers
        self.seed = seed
        self.donors = material.donors.sort_values("image_id").reset_index(drop=True)
        self.recipients = material.recipients.sort_values("image_id").reset_index(drop=True)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, at: int) -> Drawn:
        number = self.numbers[at]
        image_id = f"synthetic_transplant_s{self.seed}_{number:06d}"
        redrawn: Counter[str] = Counter()
        for attempt in range(_DONORS):
            rng = np.random.default_rng([self.seed, number, attempt])
            donor = self.donors.iloc[int(rng.integers(len(self.donors)))]
            others = np.flatnonzero(self._strangers(donor))
            if not len(others):
                redrawn["no recipient of another patient and lesion"] += 1
                continue
            try:
                lesion = self.material.lesion(str(donor["image_id"]))
            except LesionError as error:
                redrawn[error.found] += 1
                continue
            for _ in range(_RECIPIENTS):
                recipient = self.recipients.iloc[int(rng.choice(others))]
                try:
                    skin = self.material.lesion(str(recipient["image_id"]))
                    made = transplant(lesion, skin, rng)
                except Unfit as why:
                    redrawn[str(why)] += 1
                    if why.of_donor:
                        break
                    continue
                except LesionError as error:
                    redrawn[error.found] += 1
                    continue
                item = Item(
                    number, image_id, "ok",
                    donor=str(donor["image_id"]),
                    recipient=str(recipient["image_id"]),
                    diagnosis=str(donor["diagnosis"]) if donor["diagnosis"] == donor["diagnosis"]
                    else "",
                    redrawn=dict(redrawn),
                    measured={
                        "contrast": round(made.contrast, 2),
                        "contrast_of_donor": round(made.contrast_before, 2),
                        "skin_difference": round(made.skin_difference, 2),
                        "scale": round(made.scale, 3),
                    },
                )  # fmt: skip
                return Drawn(item, made.image, made.mask)
        reason = redrawn.most_common(1)[0][0]
        return Drawn(Item(number, image_id, "failed", reason, redrawn=dict(redrawn)))

    def _strangers(self, donor: pd.Series) -> np.ndarray:
        """Return which recipients are of another group, patient and lesion than the donor."""
        rows = self.recipients
        different = (rows["group"] != donor["group"]).to_numpy(bool)
        for name in ("patient_id", "lesion_id"):
            other = (rows[name].isna() | (rows[name] != donor[name])).to_numpy(bool)
            different = different & other
        return different
