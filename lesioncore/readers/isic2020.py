"""ISIC 2020 (SIIM-ISIC): 33,126 dermoscopic images with patients and a binary label."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lesioncore.readers.base import register
from lesioncore.readers.layout import find_file, find_folder, index_images
from lesioncore.readers.splits import SplitReader
from lesioncore.readers.tables import read_official, require_columns, standardise

if TYPE_CHECKING:
    import pandas as pd

# The archive's names, then those of the Kaggle competition.
_TABLES = {
    "Training": (
        "ISIC_2020_Training_GroundTruth_v2.csv",
        "ISIC_2020_Training_GroundTruth.csv",
        "train.csv",
    ),
    "Test": ("ISIC_2020_Test_Metadata.csv", "test.csv"),
}
_FOLDERS = {
    "Training": (
        "ISIC_2020_Training_Input",
        "ISIC_2020_Training_JPEG",
        "jpeg/train",
        "train",
    ),
    "Test": ("ISIC_2020_Test_Input", "ISIC_2020_Test_JPEG", "jpeg/test", "test"),
}


@register("isic2020")
class Isic2020(SplitReader):
    """Reads ISIC 2020, from the archive or from Kaggle.

    Most diagnoses are `unknown`: they stay null, although the binary label of those rows is benign.
    """

    default_policy = "target"
    test_list = "isic2020"
    splits: ClassVar[dict[str, str]] = {"train": "Training", "test": "Test"}
    layout = (
        "ISIC_2020_Training_GroundTruth.csv (or _v2) and ISIC_2020_Training_Input/ (or _JPEG), or "
        "Kaggle's train.csv and jpeg/train/; the same for the test set"
    )

    def read(self) -> pd.DataFrame:
        """Return the manifest: patient ids, target, age, sex, site."""
        self.check_root()
        word = self.choose_split(lambda word: self._table(word) is not None)
        path = self._table(word)
        if path is None:
            raise self.not_found(_TABLES[word][-2])
        table = read_official(path)
        if word == "Training":
            require_columns(table, path, ["image_name", "patient_id", "target"])
        images = index_images([find_folder(self.root, *_FOLDERS[word])])
        return self.finish(standardise(table, self.name, path), images, modality="dermoscopy")

    def _table(self, word: str) -> Path | None:
        return find_file([self.root], *_TABLES[word])
