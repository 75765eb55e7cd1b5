"""ISIC 2024 (SLICE-3D): tiles of 3D total body photography, JPEG bytes in HDF5, rich metadata."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lesioncore.files import PathLike
from lesioncore.images import list_hdf5
from lesioncore.readers.base import Reader, register
from lesioncore.readers.layout import find_file, find_folder, index_images
from lesioncore.readers.splits import check_split_name
from lesioncore.readers.tables import harmonised, read_official, require_columns, standardise

if TYPE_CHECKING:
    import pandas as pd


@register("isic2024")
class Isic2024(Reader):
    """Reads the files of the Kaggle competition `isic-2024-challenge`, training or test.

    Parameters
    ----------
    root : path
        Folder of the competition's files.
    split : {'auto', 'train', 'test'}
        `auto` is `train` where `train-image.hdf5` lies or there is no test set, else `test`.
    require_images : bool
        As for every reader.
    """

    default_policy = "target"
    test_list = "isic2024"
    layout = (
        "train-metadata.csv with train-image.hdf5 or train-image/image/*.jpg, "
        "or test-metadata.csv with test-image.hdf5"
    )

    def __init__(
        self, root: PathLike | None, *, split: str = "auto", require_images: bool = True
    ) -> None:
        super().__init__(root, require_images=require_images)
        self.split = check_split_name(self.name, split, ("train", "test"))

    def read(self) -> pd.DataFrame:
        """Return the manifest; the test split keeps the order of `sample_submission.csv`."""
        self.check_root()
        split = self.split
        if split == "auto":
            has_store = find_file([self.root], "train-image.hdf5") is not None
            has_test = find_file([self.root], "test-metadata.csv") is not None
            split = "train" if has_store or not has_test else "test"
        table, path = self._table(split)
        diagnoses = harmonised(table["iddx_full"], self.name, path) if "iddx_full" in table else {}
        records = standardise(table, self.name, path).assign(**diagnoses)
        if split == "test":
            records = self._in_submission_order(records)
        return self.finish(records, self._images(split), modality="tile")

    def _table(self, split: str) -> tuple[pd.DataFrame, Path]:
        import pandas as pd

        # Published samples of a few tiles carry their rows in a table of their own.
        names = (f"{split}-metadata.csv", f"{split}-image_sample_metadata.csv")
        paths = [p for name in names if (p := find_file([self.root], name)) is not None]
        if not paths:
            raise self.not_found(names[0])
        tables = [read_official(path) for path in paths]
        for table, path in zip(tables, paths, strict=True):
            require_columns(table, path, ["isic_id", "patient_id"])
        if len(tables) == 1:
            return tables[0], paths[0]
        both = pd.concat(tables, ignore_index=True)
        return both.drop_duplicates("isic_id", ignore_index=True), paths[0]

    def _images(self, split: str) -> dict[str, str]:
        store = find_file([self.root], f"{split}-image.hdf5")
        if store is not None:
            return {key: f"{store}::{key}" for key in list_hdf5(store)}
        return index_images([find_folder(self.root, f"{split}-image/image", f"{split}-image")])

    def _in_submission_order(self, records: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd

        path = find_file([self.root], "sample_submission.csv")
        if path is None:
            return records
        wanted = pd.DataFrame({"image_id": read_official(path)["isic_id"].astype(str)})
        # A submission must have every id, with or without metadata.
        known = set(wanted["image_id"])
        rest = records[~records["image_id"].isin(known)]
        return pd.concat(
            [wanted.merge(records, on="image_id", how="left"), rest], ignore_index=True
        )
