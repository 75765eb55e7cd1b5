"""PAD-UFES-20: 2,298 smartphone photographs of six skin diseases, with rich clinical metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lesioncore.readers.base import Reader, register
from lesioncore.readers.layout import find_file, find_folder, index_images
from lesioncore.readers.tables import read_official, require_columns, standardise

if TYPE_CHECKING:
    import pandas as pd


@register("pad-ufes-20")
class PadUfes20(Reader):
    """Reads PAD-UFES-20 (Pacheco et al. 2020, doi:10.17632/zr7vgbcyr2.1)."""

    default_policy = "cancer"
    test_list = "pad-ufes-20"
    layout = "metadata.csv and images/*.png, or images/imgs_part_1/ to imgs_part_3/"

    def read(self) -> pd.DataFrame:
        """Return the manifest; `diameter_mm` is the larger of the two diameters measured."""
        self.check_root()
        path = find_file([self.root], "metadata.csv")
        if path is None:
            raise self.not_found("metadata.csv")
        table = read_official(path)
        require_columns(
            table, path, ["img_id", "patient_id", "lesion_id", "diagnostic", "diameter_1"]
        )
        records = standardise(table, self.name, path)
        diameters = records[["diameter_1", "diameter_2"]]
        # No lesion is 0 mm wide: the few zeros were never measured.
        diameters = diameters.mask(diameters == 0)
        records = records.assign(
            diameter_1=diameters["diameter_1"],
            diameter_2=diameters["diameter_2"],
            diameter_mm=diameters.max(axis=1),
        )
        folders = ("images", "imgs_part_1", "imgs_part_2", "imgs_part_3")
        images = index_images(find_folder(self.root, name) for name in folders)
        return self.finish(records, images, modality="clinical")
