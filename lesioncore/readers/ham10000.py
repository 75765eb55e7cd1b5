"""HAM10000: 10,015 dermoscopic images of pigmented lesions, several a lesion, with masks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lesioncore.readers.base import Reader, register
from lesioncore.readers.layout import find_file, find_folder, index_images, mask_stem
from lesioncore.readers.tables import read_official, require_columns, standardise

if TYPE_CHECKING:
    import pandas as pd

_IMAGE_FOLDERS = ("HAM10000_images", "HAM10000_images_part_1", "HAM10000_images_part_2")
_MASK_FOLDERS = ("HAM10000_segmentations_lesion_tschandl", "HAM10000_segmentations", "masks")


@register("ham10000")
class Ham10000(Reader):
    """Reads HAM10000 (Tschandl et al., doi:10.7910/DVN/DBW86T), one image folder or two parts."""

    # `akiec` mixes actinic keratosis with carcinoma in situ: only together can they be judged.
    default_policy = "cancer+ak"
    test_list = "ham10000"
    layout = (
        "HAM10000_metadata.csv and HAM10000_images/ or HAM10000_images_part_1/ and _part_2/, "
        "and HAM10000_segmentations_lesion_tschandl/ for the masks"
    )

    def read(self) -> pd.DataFrame:
        """Return the manifest: lesion ids, age, sex, site; patient ids were never published."""
        self.check_root()
        table = metadata_ham(self.root)
        if table is None:
            raise self.not_found("HAM10000_metadata.csv")
        return self.finish(
            table,
            index_images(find_folder(self.root, name) for name in _IMAGE_FOLDERS),
            read_masks(self.root),
            keep_unlisted=True,
            modality="dermoscopy",
        )


def metadata_ham(root: Path) -> pd.DataFrame | None:
    """Return the standardised `HAM10000_metadata.csv` of a folder, or None where there is none."""
    # On Dataverse the table has no suffix.
    path = find_file([root], "HAM10000_metadata.csv", "HAM10000_metadata")
    if path is None:
        return None
    table = read_official(path)
    require_columns(table, path, ["image_id", "lesion_id", "dx"])
    return standardise(table, "ham10000", path)


def read_masks(root: Path) -> dict[str, str]:
    """Return {image id: path} of the masks of HAM10000 in a folder; empty where there are none."""
    return index_images([find_folder(root, *_MASK_FOLDERS)], mask_stem)
