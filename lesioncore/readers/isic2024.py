"""ISIC 2024 (SLICE-3D): tiles of 3D total body photography, JPEG bytes in HDF5, rich metadata."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lesioncore.readers.base import register
from lesioncore.readers.layout import find_file, find_folder, index_images
from lesioncore.readers.splits import SplitReader
from lesioncore.readers.tables import harmonised, read_official, require_columns, standardise

if TYPE_CHECKING:
    import pandas as pd

#: As `lesioncore.phantoms.archive.SOURCE`, which is not imported here: a reader costs nothing.
SYNTHETIC = "synthetic phantom"


@register("isic2024")
class Isic2024(SplitReader):
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
    splits: ClassVar[dict[str, str]] = {"train": "train", "test": "test"}
    layout = (
        "train-metadata.csv with train-image.hdf5 or train-image/image/*.jpg, "
        "or test-metadata.csv with test-image.hdf5"
    )

    def read(self) -> pd.DataFrame:
        """Return the manifest; the test split keeps the order of `sample_submission.csv`."""
        self.check_root()
        split = self.choose_split(self._is_there)
        table, path = self._table(split)
        diagnoses = harmonised(table["iddx_full"], self.name, path) if "iddx_full" in table else {}
        records = standardise(table, self.name, path).assign(**diagnoses)
        if split == "test":
            records = self._in_submission_order(records)
        manifest = self.finish(records, self._images(split), modality="tile")
        if "attribution" in manifest:
            # A stand-in (lesioncore.phantoms.standin) says so in each row: no report calls it real.
            made_up = manifest["attribution"].astype("str").str.startswith(SYNTHETIC)
            manifest["source"] = manifest["source"].mask(made_up, SYNTHETIC)
        return manifest

    def _is_there(self, split: str) -> bool:
        # A handful of sample tiles beside a test set is no training set.
        has_test = find_file([self.root], "test-metadata.csv") is not None
        has_store = find_file([self.root], "train-image.hdf5") is not None
        return has_test if split == "test" else has_store or not has_test

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
        from lesioncore.images import list_hdf5

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
        ordered = wanted.merge(records, on="image_id", how="left")
        return pd.concat([ordered, rest], ignore_index=True)
