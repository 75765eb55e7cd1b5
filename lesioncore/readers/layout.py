"""Finding the parts of an archive on disk: folders and files by name in any case, images by id.

Folders are listed once (`os.scandir`); nothing is asked of the disk per image.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from lesioncore.errors import LesionError
from lesioncore.integrity import IMAGE_SUFFIXES

_MASK_SUFFIX = re.compile(r"_(segmentation|mask|seg)$", re.IGNORECASE)
# Zips made on a Mac carry these beside the real files.
_IGNORED = ("._", ".", "__MACOSX")


def find_folder(root: Path, *names: str) -> Path | None:
    """Return the first folder under `root` called one of `names` (in any case), or None.

    A name may have several parts (`train-image/image`). Zips unpack to `X/X`: the inner one counts.
    """
    for name in names:
        folder: Path | None = root
        for part in name.split("/"):
            folder = _child(folder, part, want_folder=True) if folder else None
        if folder is not None:
            return _child(folder, folder.name, want_folder=True) or folder
    return None


def find_file(folders: Iterable[Path | None], *names: str) -> Path | None:
    """Return the first file called one of `names` (in any case) in any of `folders`, or None.

    A folder of the file's stem is looked into as well: ISIC zips unpack to `X/X.csv`.
    """
    places = [folder for folder in folders if folder is not None]
    for name in names:
        for folder in places:
            found = _child(folder, name, want_folder=False)
            if found is None:
                inner = _child(folder, Path(name).stem, want_folder=True)
                found = _child(inner, name, want_folder=False) if inner else None
            if found is not None:
                return found
    return None


def image_stem(stem: str) -> str | None:
    """Return the image id in a file's stem, or None for files that are no image of their own.

    ISIC 2019 names images `ISIC_0000000_downsampled`; ISIC 2017 puts `_superpixels` beside them.
    """
    return None if stem.endswith("_superpixels") else stem.removesuffix("_downsampled")


def mask_stem(stem: str) -> str:
    """Return the image id in the stem of a mask: `ISIC_0000000_segmentation` and the like."""
    return _MASK_SUFFIX.sub("", stem)


def is_mask_stem(stem: str) -> bool:
    """Return whether a file's stem says that it is a mask."""
    return _MASK_SUFFIX.search(stem) is not None


def index_images(
    folders: Iterable[Path | None],
    stem: Callable[[str], str | None] = image_stem,
    *,
    depth: int = 3,
    refuse_twins: bool = False,
    without: Path | None = None,
) -> dict[str, str]:
    """Return {image id: absolute path} of the image files under `folders`, sorted by path.

    Parameters
    ----------
    folders : iterable of path or None
        Looked through with their subfolders; None is left out.
    stem : callable
        Makes the id from a file's stem; None leaves the file out.
    depth : int
        Levels of subfolders.
    refuse_twins : bool
        Raise for two files of one id; else the first counts (archives repeat whole folders).
    without : path, optional
        A subfolder that is left out.

    Raises
    ------
    LesionError
        Two files of one id, if asked for.
    """
    found: dict[str, str] = {}
    left_out = str(without) + os.sep if without is not None else None
    for folder in folders:
        if folder is None:
            continue
        for path, file_stem in sorted(_image_files(str(folder), depth)):
            name = stem(file_stem)
            if name is None or (left_out and path.startswith(left_out)):
                continue
            if refuse_twins and name in found:
                raise LesionError(
                    f"two images have the id {name!r}: {found[name]} and {path}",
                    wanted="file names that differ: the id is the name without its suffix",
                    mend="rename one of them",
                )
            found.setdefault(name, path)
    return found


def _image_files(folder: str, depth: int) -> Iterator[tuple[str, str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_IGNORED):
                continue
            name, dot, suffix = entry.name.rpartition(".")
            if dot + suffix.lower() in IMAGE_SUFFIXES:
                yield entry.path, name
            elif depth and entry.is_dir():
                yield from _image_files(entry.path, depth - 1)


def _child(folder: Path, name: str, *, want_folder: bool) -> Path | None:
    if not folder.is_dir():
        return None
    exact = folder / name
    if exact.is_dir() if want_folder else exact.is_file():
        return exact
    lower = name.lower()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.lower() == lower and entry.is_dir() == want_folder:
                return Path(entry.path)
    return None
