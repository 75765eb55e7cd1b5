"""ISIC 2018 task 3: the images of HAM10000 as a challenge, with tests of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lesioncore.readers.base import register
from lesioncore.readers.ham10000 import metadata_ham, read_masks
from lesioncore.readers.layout import find_file, find_folder, index_images
from lesioncore.readers.splits import SplitReader
from lesioncore.readers.tables import (
    fill_from,
    harmonised,
    one_hot_word,
    read_official,
    require_columns,
    standardise,
)

if TYPE_CHECKING:
    import pandas as pd

CLASSES = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")


@register("isic2018")
class Isic2018(SplitReader):
    """Reads ISIC 2018 task 3 (classification).

    The challenge gives labels and, for training, lesion groups. Where `HAM10000_metadata.csv` or
    the masks of HAM10000 lie in the same folder, age, sex, site and masks are taken from there.
    """

    default_policy = "cancer+ak"
    # The training images are those of HAM10000, and so is their list.
    test_list = "ham10000"
    splits: ClassVar[dict[str, str]] = {
        "train": "Training",
        "validation": "Validation",
        "test": "Test",
    }
    layout = (
        "ISIC2018_Task3_Training_Input/ (or _Validation_, _Test_), "
        "ISIC2018_Task3_Training_GroundTruth.csv (or in its folder) and "
        "ISIC2018_Task3_Training_LesionGroupings.csv"
    )

    def read(self) -> pd.DataFrame:
        """Return the manifest, in the order of the ground truth, or of the images without it."""
        import pandas as pd

        self.check_root()
        word = self.choose_split(
            lambda word: (
                find_folder(self.root, f"ISIC2018_Task3_{word}_Input") is not None
                or self._find(word, "GroundTruth") is not None
            )
        )
        images = index_images([find_folder(self.root, f"ISIC2018_Task3_{word}_Input")])
        path = self._find(word, "GroundTruth")
        if path is None:
            if not images:
                raise self.not_found(f"ISIC2018_Task3_{word}_GroundTruth.csv")
            table = pd.DataFrame({"image_id": list(images)})
        else:
            classes = read_official(path)
            require_columns(classes, path, ["image", *CLASSES])
            table = standardise(classes[["image"]], self.name, path)
            table = table.assign(**harmonised(one_hot_word(classes, CLASSES), self.name, path))
        groups = self._find(word, "LesionGroupings")
        if groups is not None:
            table = fill_from(table, standardise(read_official(groups), self.name, groups))
        metadata = metadata_ham(self.root)
        if metadata is not None:
            table = fill_from(table, metadata)
        return self.finish(table, images, read_masks(self.root), modality="dermoscopy")

    def _find(self, word: str, part: str) -> Path | None:
        truth = find_folder(self.root, f"ISIC2018_Task3_{word}_GroundTruth")
        return find_file([self.root, truth], f"ISIC2018_Task3_{word}_{part}.csv")
