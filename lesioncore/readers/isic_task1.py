"""ISIC 2018 task 1: lesion boundary segmentation, labels joined from tables of other years."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from lesioncore.readers.base import register
from lesioncore.readers.isic2017 import Isic2017, labels_2017
from lesioncore.readers.isic2019 import labels_2019
from lesioncore.readers.layout import find_folder, index_images, mask_stem
from lesioncore.readers.splits import SplitReader
from lesioncore.readers.tables import fill_from

if TYPE_CHECKING:
    import pandas as pd


@register("isic-task1")
class IsicTask1(SplitReader):
    """Reads ISIC 2018 task 1: images and masks.

    The archive itself has no labels. Where tables of ISIC 2019 or 2017 lie in the same folder,
    diagnosis, age, sex, site and lesion are taken from them, those of 2019 first.
    """

    default_policy = "cancer"
    test_list = "isic2018_task1"
    splits: ClassVar[dict[str, str]] = {
        "train": "Training",
        "validation": "Validation",
        "test": "Test",
    }
    layout = (
        "ISIC2018_Task1-2_Training_Input/ and ISIC2018_Task1_Training_GroundTruth/ "
        "(or _Validation_, _Test_); tables of ISIC 2019 or 2017 beside them give labels"
    )

    def read(self) -> pd.DataFrame:
        """Return the manifest, sorted by image id; `target` is null, diagnoses where joined."""
        import pandas as pd

        self.check_root()
        word = self.choose_split(
            lambda word: find_folder(self.root, f"ISIC2018_Task1-2_{word}_Input") is not None
        )
        folder = find_folder(self.root, f"ISIC2018_Task1-2_{word}_Input")
        if folder is None:
            raise self.not_found(f"ISIC2018_Task1-2_{word}_Input folder")
        images = index_images([folder])
        if not images:
            raise self.not_found(f"image in {folder.name}")
        masks = index_images(
            [find_folder(self.root, f"ISIC2018_Task1_{word}_GroundTruth")], mask_stem
        )
        table = pd.DataFrame({"image_id": sorted(images)})
        for labels in (
            labels_2019(self.root),
            *(labels_2017(self.root, split) for split in Isic2017.splits.values()),
        ):
            if labels is not None:
                wanted = [c for c in labels.columns if c not in _ONLY_2017]
                table = fill_from(table, labels[wanted])
        return self.finish(table, images, masks, modality="dermoscopy")


# The binary label of 2017 covers a part of the images only: as `target` it would mislead.
_ONLY_2017 = ("target", "melanoma", "seborrheic_keratosis")
