"""Phantoms: synthetic lesions, drawn into the root folder when it does not hold any yet."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from lesioncore.files import PathLike
from lesioncore.readers.base import Reader, register

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("lesion")


@register("phantom")
class PhantomReader(Reader):
    """Reads an archive of synthetic lesions; makes it first where the root is absent or empty.

    Parameters
    ----------
    root : path
        Folder of the archive.
    require_images : bool
        As for every reader.
    n, seed, size, prevalence
        How an archive is made. One that is there already is read as it is.
    """

    layout = "images/, masks/ and metadata.csv with phantom.json, or an empty folder to draw into"

    def __init__(
        self,
        root: PathLike | None,
        *,
        require_images: bool = True,
        n: int = 400,
        seed: int = 0,
        size: int = 128,
        prevalence: float = 0.25,
    ) -> None:
        super().__init__(root, require_images=require_images)
        self.n = n
        self.seed = seed
        self.size = size
        self.prevalence = prevalence

    def read(self) -> pd.DataFrame:
        """Return the manifest; `source` is `synthetic phantom` in every row."""
        from lesioncore.phantoms.archive import SOURCE
        from lesioncore.readers.layout import find_folder, index_images, mask_stem
        from lesioncore.readers.tables import read_official, require_columns, standardise

        self._make_if_absent()
        path = self.root / "metadata.csv"
        table = read_official(path)
        require_columns(table, path, ["image_id", "patient_id", "lesion_id", "target"])
        manifest = self.finish(
            standardise(table.drop(columns="source", errors="ignore"), self.name, path),
            index_images([find_folder(self.root, "images")]),
            index_images([find_folder(self.root, "masks")], mask_stem),
        )
        manifest["source"] = manifest["source"].where(manifest["source"].isna(), SOURCE)
        return manifest

    def _make_if_absent(self) -> None:
        from lesioncore.phantoms.archive import (
            archive_options,
            check_empty_or_own,
            make_phantom_archive,
        )

        check_empty_or_own(self.root)
        there = archive_options(self.root)
        if there is not None and there.get("complete"):
            if (there["n"], there["seed"]) != (self.n, self.seed):
                log.info(
                    "phantom: %s holds %d synthetic lesions of seed %d already; they are used",
                    self.root,
                    there["n"],
                    there["seed"],
                )
            return
        log.info("phantom: drawing %d synthetic lesions into %s", self.n, self.root)
        make_phantom_archive(self.root, self.n, self.seed, self.size, prevalence=self.prevalence)
