"""ISIC 2019: 25,331 dermoscopic images in eight classes, joined from HAM10000, BCN20000 and MSK."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lesioncore.readers.base import register
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

CLASSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")


@register("isic2019")
class Isic2019(SplitReader):
    """Reads ISIC 2019; images may be called `ISIC_nnnnnnn_downsampled`, ids never are."""

    default_policy = "cancer"
    test_list = "isic2019"
    splits: ClassVar[dict[str, str]] = {"train": "Training", "test": "Test"}
    layout = (
        "ISIC_2019_Training_Input/ (or _Test_), ISIC_2019_Training_Metadata.csv and "
        "ISIC_2019_Training_GroundTruth.csv"
    )

    def read(self) -> pd.DataFrame:
        """Return the manifest: lesion ids where known, age, sex, site; no patient ids."""
        self.check_root()
        word = self.choose_split(lambda word: tables_2019(self.root, word) != [])
        table = labels_2019(self.root, word)
        if table is None:
            raise self.not_found(f"ISIC_2019_{word}_Metadata.csv")
        images = index_images([find_folder(self.root, f"ISIC_2019_{word}_Input")])
        return self.finish(table, images, modality="dermoscopy")


def tables_2019(root: Path, word: str) -> list[Path]:
    """Return which of metadata and ground truth of a split (`Training`, `Test`) lie in `root`."""
    names = (f"ISIC_2019_{word}_Metadata.csv", f"ISIC_2019_{word}_GroundTruth.csv")
    return [path for name in names if (path := find_file([root], name)) is not None]


def labels_2019(root: Path, word: str = "Training") -> pd.DataFrame | None:
    """Return metadata and diagnoses of an ISIC 2019 split whose tables lie in `root`, or None."""
    tables = []
    for path in tables_2019(root, word):
        table = read_official(path)
        require_columns(table, path, ["image"])
        if "MEL" in table.columns:
            classes = [name for name in CLASSES if name in table.columns]
            require_columns(table, path, CLASSES[:-1])
            raw = one_hot_word(table, classes)
            table = table[["image"]].assign(**harmonised(raw, "isic2019", path))
            table = table.rename(columns={"image": "image_id"})
            table["image_id"] = standardise(table[["image_id"]], "isic2019", path)["image_id"]
            tables.append(table)
        else:
            tables.append(standardise(table, "isic2019", path))
    if not tables:
        return None
    return fill_from(tables[0], tables[1]) if len(tables) == 2 else tables[0]
