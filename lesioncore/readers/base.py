"""What a reader is, and the registry that finds one by name. Nothing heavy is imported here."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lesioncore.config import DataOptions
from lesioncore.errors import LesionError, UsageError
from lesioncore.files import PathLike
from lesioncore.progress import log
from lesioncore.registry import Registry

if TYPE_CHECKING:
    import pandas as pd


class Reader:
    """Reads one archive in its official layout.

    Modules of readers import pandas inside functions only: listing the names must cost nothing.

    Parameters
    ----------
    root : path
        Folder in which the archive lies.
    require_images : bool
        Drop rows whose image is not on disk (with a count in the log), refuse when none is left.
        False keeps all rows, with `image` null: tables without images can be read for audits.
    """

    #: Set by `register`.
    name: ClassVar[str] = ""
    #: Which lesions count as malignant when nobody says: a key of `lesioncore.diagnoses.POLICIES`.
    default_policy: ClassVar[str] = "target"
    #: Name of the committed list of test ids, or None: groups are then chosen by hash.
    test_list: ClassVar[str | None] = None
    #: What a person has to put where; errors show it.
    layout: ClassVar[str] = ""

    def __init__(self, root: PathLike | None, *, require_images: bool = True) -> None:
        if root is None:
            raise UsageError(
                f"{self.name}: no root folder given",
                wanted=self.layout or "the folder of the archive",
                mend=f"--dataset {self.name} --root DIR",
            )
        self.root = Path(root).absolute()
        self.require_images = require_images

    def read(self) -> pd.DataFrame:
        """Return the checked manifest, in the order of the archive's table.

        Raises
        ------
        LesionError
            The folder or a table is missing, a column is missing, or no image is left.
        """
        raise NotImplementedError

    def check_root(self) -> None:
        """Raise a `LesionError` if the root folder is not there."""
        if not self.root.is_dir():
            raise LesionError(
                f"{self.name}: no such folder: {self.root}",
                wanted=self.layout or "the folder of the archive",
                mend=f"--dataset {self.name} --root DIR",
            )

    def not_found(self, what: str) -> LesionError:
        """Return the error for a part of the archive that is not under the root."""
        try:
            names = sorted(item.name for item in self.root.iterdir())
        except OSError:
            names = []
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        return LesionError(
            f"{self.name}: no {what} in {self.root} (it holds: {shown or 'nothing'})",
            wanted=self.layout,
            mend="give --root the folder that holds these (docs/reference/archives.md)",
        )

    def finish(
        self,
        table: pd.DataFrame,
        images: Mapping[str, str],
        masks: Mapping[str, str] | None = None,
        *,
        keep_unlisted: bool = False,
        modality: str | None = None,
    ) -> pd.DataFrame:
        """Join a standardised table with the files found, and return the checked manifest.

        Parameters
        ----------
        table : DataFrame
            With `image_id` and any core columns, in the archive's order.
        images, masks : mapping of image_id to path
            What lies on disk.
        keep_unlisted : bool
            Add images that the table does not know, with null labels; else they are counted in the
            log and left out.
        modality : str, optional
            For all rows, where the table does not say.
        """
        import pandas as pd

        ids = table["image_id"]
        listed = set(ids.tolist())
        unlisted = [image_id for image_id in images if image_id not in listed]
        if unlisted and keep_unlisted:
            table = pd.concat([table, pd.DataFrame({"image_id": unlisted})], ignore_index=True)
            if len(ids):
                log.info("%s: %d images are in no table: no labels", self.name, len(unlisted))
        elif unlisted:
            log.info("%s: %d images are in no table: left out", self.name, len(unlisted))
        columns: dict[str, Any] = {
            "source": self.name,
            "image": table["image_id"].map(images),
            "mask": table["image_id"].map(masks or {}),
        }
        if modality is not None and "modality" not in table.columns:
            columns["modality"] = modality
        table = table.assign(**columns)
        if self.require_images:
            table = self._with_images(table)
        if masks:
            without = int(table["mask"].isna().sum())
            if without:
                log.info("%s: %d of %d images have no mask", self.name, without, len(table))
        from lesioncore.records import check_manifest

        return check_manifest(table, f"{self.name} in {self.root}")

    def _with_images(self, table: pd.DataFrame) -> pd.DataFrame:
        missing = table["image"].isna()
        count = int(missing.sum())
        if not count:
            return table
        first = ", ".join(table.loc[missing, "image_id"].astype(str).head(3))
        if count == len(table):
            raise LesionError(
                f"{self.name}: none of the {count} images of the table is in {self.root} "
                f"(first: {first})",
                wanted=self.layout,
                mend="give --root the folder that holds the images too",
            )
        log.warning(
            "%s: %d of %d rows have no image on disk and are left out (first: %s)",
            self.name,
            count,
            len(table),
            first,
        )
        return table[~missing]


_READERS: Registry[Reader] = Registry("dataset", "lesioncore.readers")
register = _READERS.register
#: The names that `--dataset` takes.
reader_names = _READERS.names


def reader_class(name: str) -> type[Reader]:
    """Return the class registered under `name`; an unknown name is a `UsageError` listing them."""
    return _READERS[name]


def create_reader(name: str, root: PathLike | None, **options: Any) -> Reader:
    """Return the reader called `name` for the archive in `root`.

    Parameters
    ----------
    name : str
        One of `reader_names()`.
    root : path
        Folder in which the archive lies.
    **options
        What the reader's class takes: `require_images`, `split`, `columns`, ...

    Raises
    ------
    UsageError
        An unknown name, or an option that this reader does not have.
    """
    cls = reader_class(name)
    takes = inspect.signature(cls).parameters
    for option in options:
        if option not in takes:
            known = ", ".join(p for p in takes if p != "root")
            raise UsageError(f"{name} has no option {option!r}", wanted=f"one of: {known}")
    return cls(root, **options)


def default_policy(dataset: str) -> str:
    """Return the policy by which `dataset` is scored when nobody says another."""
    return reader_class(dataset).default_policy


def policy_of(dataset: str, policy: str) -> str:
    """Return the policy itself, or for "auto" the archive's own."""
    return default_policy(dataset) if policy == "auto" else policy


def has_own_parts(dataset: str) -> bool:
    """Whether the archive comes with a test set of its own (its reader takes `split`)."""
    return "split" in inspect.signature(reader_class(dataset)).parameters


def test_list(dataset: str) -> str | None:
    """Return the name of the committed list of test ids of `dataset`, or None."""
    return reader_class(dataset).test_list


test_list.__test__ = False  # type: ignore[attr-defined]  # pytest would collect it by its name


def load_manifest(
    options: DataOptions, *, seed: int = 0, split: str | None = None, **further: Any
) -> pd.DataFrame:
    """Return the manifest that the options of a command name.

    Parameters
    ----------
    options : DataOptions
        `limit` keeps that many rows, evenly spaced over the table: official tables are sorted by
        diagnosis or by date, and the first N of HAM10000 all show the same disease.
    seed : int
        For readers that make their images (`phantom`).
    split : str, optional
        `train`, `validation` or `test`, for archives that have them; None is `options.split`.
    **further
        Options of the reader, for those readers that have them.

    Raises
    ------
    LesionError, UsageError
        As `create_reader` and `Reader.read`.
    """
    takes = inspect.signature(reader_class(options.dataset)).parameters
    chosen: dict[str, Any] = {}
    if options.columns is not None:
        chosen["columns"] = options.columns
    wanted = options.split if split is None else split
    if wanted != "auto":
        chosen["split"] = wanted
    for name, value in {"n": options.n, "seed": seed, **further}.items():
        if name in takes:
            chosen[name] = value
    manifest = create_reader(options.dataset, options.root, **chosen).read()
    return limit_rows(manifest, options.limit)


def limit_rows(manifest: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """Return at most `limit` rows, evenly spaced and in order; None keeps all."""
    if limit is None or limit >= len(manifest):
        return manifest
    if limit < 1:
        raise UsageError(f"--limit {limit}", wanted="a number of images, 1 or more")
    kept = [i * len(manifest) // limit for i in range(limit)]
    return manifest.iloc[kept].reset_index(drop=True)
