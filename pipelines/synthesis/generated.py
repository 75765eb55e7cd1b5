"""Lesions drawn by a network that learned from the malignant training lesions of the fold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesioncore.config import FitOptions
from lesioncore.devices import choose_device
from lesioncore.errors import LesionError
from lesioncore.files import write_text
from lesioncore.progress import log
from lesioncore.synthetic import LEARNED
from pipelines.synthesis.crops import LesionCrops
from pipelines.synthesis.folder import Drawn, Item
from pipelines.synthesis.skin import dilated, to_lab

if TYPE_CHECKING:
    from torch import nn

    from pipelines.synthesis.material import Material
    from pipelines.synthesis_config import SynthesizeConfig

#: Goes up whenever the same seed would give other pictures.
VERSION = 1
KIND = "generator"
SAMPLING_STEPS = 40
_EMA = 0.999
# Images are drawn in whole blocks: arithmetic differs in the last bit with the size of a batch.
_BLOCK = 8
_ATTEMPTS = 4
_MIN_SHARE, _MAX_SHARE, _MIN_CONTRAST = 0.03, 0.85, 4.0


class LesionGenerator:
    """Trains, or takes up, the network in ``folder/model``, then draws images by number.

    Parameters
    ----------
    material : Material
    config : SynthesizeConfig

    Raises
    ------
    LesionError
        Fewer than two malignant training lesions have a trusted mask off the border.
    """

    def __init__(self, material: Material, config: SynthesizeConfig) -> None:
        self.rows = material.donors.reset_index(drop=True)
        if len(self.rows) < 2:
            listed = ", ".join(f"{count} {name}" for name, count in material.counts().items())
            raise LesionError(
                f"too few malignant lesions to learn from: {listed}",
                wanted="malignant training images with trusted masks off the picture's border",
                mend="another --policy, --fold or --min-quality",
            )
        self.material = material
        self.config = config
        names = self.rows["diagnosis"].astype(object)
        names = names.where(names.notna(), "malignant")
        self.classes: list[str] = sorted(names.unique())
        self.labels = [self.classes.index(name) for name in names]

    def train(self) -> nn.Module:
        """Return the trained network, on the CPU; a killed training goes on at its last epoch."""
        import torch

        from lesioncore.loading import EpochSampler, make_loader
        from lesioncore.training import fit, forget_checkpoints
        from pipelines.synthesis.diffusion import DiffusionTask, create_generator
        from weights.card import WeightCard
        from weights.store import CARD, fill_network, load_weights, save_weights

        config, folder = self.config, self.config.out / "model"
        torch.manual_seed(config.seed)
        network = create_generator(config.size, len(self.classes))
        if (folder / CARD).is_file():
            state, _ = load_weights(folder, kind=KIND)
            fill_network(network, state, folder)
            return network.eval()
        options = FitOptions(
            epochs=config.epochs,
            batch_size=min(config.batch_size, len(self.rows)),
            lr=config.lr,
            weight_decay=0.01,
            seed=config.seed,
            device=config.device,
            precision=config.precision,
            select="last",
        )
        ids = self.rows["image_id"].astype(str).tolist()
        self._write_learned(ids)
        log.info("learning from %d lesions of %d classes", len(ids), len(self.classes))
        loader = make_loader(
            LesionCrops(self.material, ids, self.labels, config.size),
            options.batch_size,
            sampler=EpochSampler.shuffled(len(ids), config.seed),
            drop_last=True,
        )
        task = DiffusionTask(network, options, len(loader))
        fit(task, loader, None, folder=folder, options=options, monitor="train_loss", ema=_EMA)
        card = WeightCard(
            name="lesion generator",
            kind=KIND,
            architecture={"size": config.size, "classes": len(self.classes)},
            preprocessing={"size": config.size, "classes": self.classes},
            training_data=f"{len(ids)} malignant training lesions of {config.dataset}, fold "
            f"{config.fold} (ids in ../{LEARNED})",
            limits="Draws what its training lesions looked like; for augmentation experiments.",
        )
        save_weights(folder, task.network.state_dict(), card)
        forget_checkpoints(folder)
        return task.network.eval()

    def _write_learned(self, ids: list[str]) -> None:
        write_text(self.config.out / LEARNED, "\n".join(sorted(ids)) + "\n")

    def draw(self, network: nn.Module, numbers: list[int]) -> Iterator[Drawn]:
        """Yield the images of these numbers, in order."""
        device = choose_device(self.config.device)
        network = network.to(device).eval()
        wanted = set(numbers)
        for block in sorted({number // _BLOCK for number in numbers}):
            whole = range(block * _BLOCK, (block + 1) * _BLOCK)
            done: dict[int, Drawn] = {}
            reasons: dict[int, dict[str, int]] = {number: {} for number in whole}
            for attempt in range(_ATTEMPTS):
                self._draw_block(network, list(whole), attempt, done, reasons, device)
                if wanted.intersection(whole) <= done.keys():
                    break
            for number in whole:
                if number in wanted:
                    yield done.get(number) or self._failed(number, reasons[number])

    def _draw_block(
        self,
        network: nn.Module,
        numbers: list[int],
        attempt: int,
        done: dict[int, Drawn],
        reasons: dict[int, dict[str, int]],
        device: object,
    ) -> None:
        from pipelines.synthesis.diffusion import sample

        seed = self.config.seed
        labels = [
            int(np.random.default_rng([seed, number]).choice(self.labels)) for number in numbers
        ]
        images, masks = sample(
            network, labels, [(seed, number, attempt) for number in numbers], self.config.size,
            steps=SAMPLING_STEPS, device=device,  # type: ignore[arg-type]
        )  # fmt: skip
        for number, label, image, values in zip(numbers, labels, images, masks, strict=True):
            if number in done:
                continue
            mask = clean_mask(values > 0)
            reason, contrast = judge(image, mask)
            if reason:
                reasons[number][reason] = reasons[number].get(reason, 0) + 1
                continue
            name = self.classes[label]
            item = Item(
                number, self._id(number), "ok",
                diagnosis="" if name == "malignant" else name,
                redrawn=reasons[number], measured={"contrast": round(contrast, 2)},
            )  # fmt: skip
            done[number] = Drawn(item, image, mask)

    def _failed(self, number: int, reasons: dict[str, int]) -> Drawn:
        reason = max(reasons, key=lambda name: reasons[name])
        return Drawn(Item(number, self._id(number), "failed", reason, redrawn=reasons))

    def _id(self, number: int) -> str:
        return f"synthetic_generate_s{self.config.seed}_{number:06d}"


def clean_mask(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest part of a mask, its holes filled."""
    parts, count = ndimage.label(mask)
    if count == 0:
        return mask
    largest = 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    return np.asarray(ndimage.binary_fill_holes(parts == largest), bool)


def judge(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> tuple[str, float]:
    """Return why a drawn picture is no lesion ("" when it is one), and its contrast (CIE76)."""
    share = float(mask.mean())
    if not _MIN_SHARE <= share <= _MAX_SHARE:
        return "the mask is empty, tiny or covers all", 0.0
    around = dilated(mask, 0.15 * max(mask.shape)) & ~dilated(mask, 1.0)
    if np.count_nonzero(around) < 8:
        return "no skin around the lesion", 0.0
    lab = to_lab(np.asarray(cv2.GaussianBlur(image, (0, 0), 1.0), np.uint8))
    contrast = float(np.linalg.norm(np.median(lab[mask], axis=0) - np.median(lab[around], axis=0)))
    return ("" if contrast >= _MIN_CONTRAST else "no lesion to be seen under the mask"), contrast
