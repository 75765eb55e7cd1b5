"""Archives that come in official splits: training, validation, test."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from lesioncore.errors import unknown_name
from lesioncore.files import PathLike
from lesioncore.readers.base import Reader


class SplitReader(Reader):
    """A reader of one official split at a time.

    Parameters
    ----------
    root : path
        Folder in which the archive lies.
    split : str
        One of the keys of `splits`, or `auto`: the first of them that is there.
    require_images : bool
        As for every reader.
    """

    #: Our name of a split -> how the archive's file names write it.
    splits: ClassVar[dict[str, str]] = {}

    def __init__(
        self, root: PathLike | None, *, split: str = "auto", require_images: bool = True
    ) -> None:
        super().__init__(root, require_images=require_images)
        if split != "auto" and split not in self.splits:
            raise unknown_name(f"split of {self.name}", split, ("auto", *self.splits))
        self.split = split

    def choose_split(self, is_there: Callable[[str], bool]) -> str:
        """Return how the archive writes the chosen split; `is_there` answers for `auto`.

        Where none is there the first is returned, so that the error names what was looked for.
        """
        if self.split != "auto":
            return self.splits[self.split]
        return next(filter(is_there, self.splits.values()), next(iter(self.splits.values())))
