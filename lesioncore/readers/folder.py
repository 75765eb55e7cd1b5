"""A folder of photographs, with masks beside them or in a folder of their own, and a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lesioncore.readers.base import Reader, register
from lesioncore.readers.layout import find_file, find_folder, index_images, is_mask_stem, mask_stem
from lesioncore.readers.tables import ALIASES, read_official, standardise

if TYPE_CHECKING:
    import pandas as pd

_IMAGE_FOLDERS = ("images", "image", "imgs", "photos")
_MASK_FOLDERS = ("masks", "mask", "segmentations", "segmentation")
_ALIASES = {**ALIASES, "image_id": (*ALIASES["image_id"], "filename", "file_name", "file", "id")}


@register("folder")
class Folder(Reader):
    """Reads any folder of images.

    The id of an image is its file name without the suffix. A mask is called `<id>_segmentation`,
    `<id>_mask` or `<id>_seg` beside it, or lies in `masks/` under one of these names or `<id>`.
    `metadata.csv` may give any core column and numeric ones of its own.
    """

    layout = (
        "images (with <id>_segmentation or <id>_mask beside them), or images/ and masks/; "
        "metadata.csv with image_id if there is any"
    )

    def read(self) -> pd.DataFrame:
        """Return the manifest: the table's rows in its order, then images that it does not list."""
        import pandas as pd

        self.check_root()
        images, masks = self._files()
        path = find_file([self.root], "metadata.csv")
        if path is None:
            if not images:
                raise self.not_found("image")
            table = pd.DataFrame({"image_id": list(images)})
        else:
            table = standardise(read_official(path), self.name, path, _ALIASES)
            table = table.drop(columns=["source", "mask"], errors="ignore")
        return self.finish(table, images, masks, keep_unlisted=True)

    def _files(self) -> tuple[dict[str, str], dict[str, str]]:
        mask_folder = find_folder(self.root, *_MASK_FOLDERS)
        beside = find_folder(self.root, *_IMAGE_FOLDERS) or self.root
        images = index_images([beside], str, refuse_twins=True, without=mask_folder)
        masks = index_images([mask_folder], mask_stem)
        for stem in [stem for stem in images if is_mask_stem(stem)]:
            masks.setdefault(mask_stem(stem), images.pop(stem))
        return images, masks
