"""ISIC 2017: 2,000 + 150 + 600 dermoscopic images with lesion masks and two binary labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lesioncore.readers.base import register
from lesioncore.readers.layout import find_file, find_folder, index_images, mask_stem
from lesioncore.readers.splits import SplitReader
from lesioncore.readers.tables import (
    fill_from,
    harmonised,
    read_official,
    require_columns,
    standardise,
)

if TYPE_CHECKING:
    import pandas as pd


@register("isic2017")
class Isic2017(SplitReader):
    """Reads ISIC 2017: images, masks (Part 1), labels (Part 3), age and sex."""

    default_policy = "melanoma"
    test_list = "isic2018_task1"
    splits: ClassVar[dict[str, str]] = {
        "train": "Training",
        "validation": "Validation",
        "test": "Test_v2",
    }
    layout = (
        "ISIC-2017_Training_Data/ (or _Validation_, _Test_v2_), with "
        "ISIC-2017_Training_Part1_GroundTruth/ for masks, ISIC-2017_Training_Part3_GroundTruth.csv "
        "and ISIC-2017_Training_Data_metadata.csv for labels"
    )

    def read(self) -> pd.DataFrame:
        """Return the manifest; `target` is the archive's melanoma label, no groups are known."""
        import pandas as pd

        self.check_root()
        word = self.choose_split(lambda word: self._folder(word, "Data") is not None)
        images = index_images([self._folder(word, "Data")])
        masks = index_images([self._folder(word, "Part1_GroundTruth")], mask_stem)
        table = labels_2017(self.root, word)
        if table is None:
            if not images:
                raise self.not_found(f"ISIC-2017_{word}_Data folder")
            table = pd.DataFrame({"image_id": list(images)})
        return self.finish(table, images, masks, keep_unlisted=True, modality="dermoscopy")

    def _folder(self, word: str, part: str) -> Path | None:
        return find_folder(self.root, f"ISIC-2017_{word}_{part}")


def labels_2017(root: Path, word: str) -> pd.DataFrame | None:
    """Return labels, age and sex of an ISIC 2017 split whose tables lie in `root`, or None.

    Parameters
    ----------
    root : path
        The folder; the metadata may also lie among the images, where the official zip puts them.
    word : str
        `Training`, `Validation` or `Test_v2`.

    Returns
    -------
    DataFrame with `image_id` and, as far as known, `target`, `diagnosis`, `age`, `sex`.
    """
    data = find_folder(root, f"ISIC-2017_{word}_Data")
    label_path = find_file([root, data], f"ISIC-2017_{word}_Part3_GroundTruth.csv")
    metadata_path = find_file([root, data], f"ISIC-2017_{word}_Data_metadata.csv")
    tables = []
    if label_path is not None:
        table = read_official(label_path)
        require_columns(table, label_path, ["image_id", "melanoma", "seborrheic_keratosis"])
        # Neither melanoma nor seborrheic keratosis means nevus: the challenge has no fourth class.
        raw = table["melanoma"].map({1.0: "melanoma", 0.0: "nevus"})
        raw = raw.mask(table["seborrheic_keratosis"] == 1.0, "seborrheic keratosis")
        table = standardise(table, "isic2017", label_path)
        tables.append(
            table.assign(target=table["melanoma"], **harmonised(raw, "isic2017", label_path))
        )
    if metadata_path is not None:
        tables.append(standardise(read_official(metadata_path), "isic2017", metadata_path))
    if not tables:
        return None
    return fill_from(tables[0], tables[1]) if len(tables) == 2 else tables[0]
