"""Photographs that a person names on the command line: files, and folders of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from lesioncore.errors import LesionError
from lesioncore.integrity import IMAGE_SUFFIXES
from lesioncore.readers.layout import is_mask_stem

#: What the name of a mask file has after the image id.
MASK_SUFFIX = "_segmentation"


def find_photos(given: Iterable[Path]) -> list[Path]:
    """Return the image files that `given` names, each once.

    Files are taken as they are; folders are looked through with their subfolders, in the order of
    their paths, and masks (``*_segmentation.png`` and the like) in them are left out.

    Raises
    ------
    LesionError
        A path that does not exist, or no photograph in a folder.
    """
    found: list[Path] = []
    for path in given:
        if path.is_dir():
            inside = sorted(
                item
                for item in path.rglob("*")
                if item.suffix.lower() in IMAGE_SUFFIXES
                and item.is_file()
                and not is_mask_stem(item.stem)
            )
            if not inside:
                raise LesionError(
                    f"no photograph in {path}",
                    wanted=f"files that end in {', '.join(sorted(IMAGE_SUFFIXES))}",
                )
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise LesionError(
                f"no such photograph or folder: {path}", wanted="image files, or folders of them"
            )
    return list(dict.fromkeys(found))


def photo_names(photos: Sequence[Path]) -> dict[Path, str]:
    """Return an id for each photograph, no two the same.

    The name without its suffix; where several photographs share it, the whole name with as many
    folders before it as tell them apart (``left_1.jpg``, ``right_1.jpg``).
    """
    names: dict[Path, str] = {}
    depth = 0
    rest = list(photos)
    while rest:
        named = {path: _name(path, depth) for path in rest}
        counts = Counter([*named.values(), *names.values()])
        whole = depth > max(len(path.parts) for path in rest)
        names |= {path: name for path, name in named.items() if counts[name] == 1 or whole}
        rest = [path for path in rest if path not in names]
        depth += 1
    return {path: names[path] for path in photos}


def _name(path: Path, depth: int) -> str:
    return (
        path.stem if depth == 0 else "_".join(part for part in path.parts[-depth:] if part != "/")
    )
