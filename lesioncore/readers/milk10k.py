"""MILK10k (ISIC 2025): a clinical and a dermoscopic image of each of 5,240 lesions."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from lesioncore.readers.base import register
from lesioncore.readers.layout import find_file, find_folder, index_images
from lesioncore.readers.splits import SplitReader
from lesioncore.readers.tables import (
    harmonised,
    one_hot_word,
    read_official,
    require_columns,
    standardise,
)

if TYPE_CHECKING:
    import pandas as pd

CLASSES = (
    "AKIEC", "BCC", "BEN_OTH", "BKL", "DF", "INF", "MAL_OTH", "MEL", "NV", "SCCKA", "VASC",
)  # fmt: skip


@register("milk10k")
class Milk10k(SplitReader):
    """Reads MILK10k: two rows a lesion, told apart by `modality`.

    The supplement's full diagnosis counts before the challenge's class: `AKIEC` joins actinic
    keratosis with Bowen's disease, the supplement tells them apart.
    """

    default_policy = "cancer"
    test_list = "milk10k"
    splits: ClassVar[dict[str, str]] = {"train": "Training", "test": "Test"}
    layout = (
        "MILK10k_Training_Input/IL_nnnnnnn/ISIC_nnnnnnn.jpg, MILK10k_Training_Metadata.csv, "
        "MILK10k_Training_GroundTruth.csv and MILK10k_Training_Supplement.csv (or _Test_)"
    )

    def read(self) -> pd.DataFrame:
        """Return the manifest: lesion ids, age, sex, site, skin tone, MONET concept scores."""
        self.check_root()
        word = self.choose_split(
            lambda word: find_file([self.root], f"MILK10k_{word}_Metadata.csv") is not None
        )
        path = find_file([self.root], f"MILK10k_{word}_Metadata.csv")
        if path is None:
            raise self.not_found(f"MILK10k_{word}_Metadata.csv")
        table = read_official(path)
        require_columns(table, path, ["isic_id", "lesion_id", "image_type"])
        records = standardise(table, self.name, path)
        raw = self._diagnoses(records, word)
        if raw is not None:
            records = records.assign(**harmonised(raw, self.name, path))
        images = index_images([find_folder(self.root, f"MILK10k_{word}_Input")])
        return self.finish(records, images)

    def _diagnoses(self, records: pd.DataFrame, word: str) -> pd.Series | None:
        raw: pd.Series | None = None
        path = find_file([self.root], f"MILK10k_{word}_Supplement.csv")
        if path is not None:
            table = read_official(path)
            require_columns(table, path, ["isic_id", "diagnosis_full"])
            raw = records["image_id"].map(table.set_index("isic_id")["diagnosis_full"])
        path = find_file([self.root], f"MILK10k_{word}_GroundTruth.csv")
        if path is not None:
            table = read_official(path)
            require_columns(table, path, ["lesion_id", *CLASSES])
            classes = records["lesion_id"].map(
                one_hot_word(table, CLASSES).set_axis(table["lesion_id"])
            )
            raw = classes if raw is None else raw.fillna(classes)
        return raw
