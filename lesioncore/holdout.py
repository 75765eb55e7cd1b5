"""The images kept back from every training run: committed lists, or a hash rule without one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from lesioncore.errors import LesionError
from lesioncore.progress import log

if TYPE_CHECKING:
    import pandas as pd

#: Part of the groups that is kept back.
TEST_SHARE = 0.15


def test_ids(manifest: pd.DataFrame, dataset: str, choice: str = "auto") -> set[str]:
    """Return the ids of the manifest's images that are kept back for testing.

    Parameters
    ----------
    manifest : DataFrame
        A checked manifest.
    dataset : str
        Name of the reader that made it.
    choice : str
        `auto`: the committed list of the archive (`lesioncore/testlists`); for a reader without
        one (`phantom`, `folder`, `csv`) the groups with `is_test_group`. `none`: nothing is kept
        back. Anything else: a text file of image ids, one a line (`#` starts a comment).

    Raises
    ------
    LesionError
        The file is not there, or names no image of the manifest.
    """
    ids = manifest["image_id"].astype(str)
    if choice == "none":
        return set()
    if choice != "auto":
        return _named(ids, choice)
    from lesioncore.readers import test_list
    from lesioncore.splits import assign_groups

    name = test_list(dataset)
    if name is None:
        groups = assign_groups(manifest)
        chosen = {group for group in groups.unique() if is_test_group(group)}
        found = set(groups.index[groups.isin(chosen)])
    else:
        listed = committed_ids(name)
        found = {image_id for image_id in ids if canonical_id(image_id) in listed}
    if not found:
        log.warning(
            "no image of this manifest is on the test list (%d images): nothing is kept back",
            len(ids),
        )
    return found


test_ids.__test__ = False  # type: ignore[attr-defined]  # pytest would collect it by its name


def committed_ids(name: str) -> frozenset[str]:
    """Return the image ids of the committed list `name`, as `canonical_id` writes them."""
    source = resources.files("lesioncore.testlists") / f"{name}.txt"
    if not source.is_file():
        raise LesionError(f"there is no committed test list {name!r}")
    return frozenset(_ids_of(source.read_text(encoding="utf-8")))


def canonical_id(image_id: str) -> str:
    """Return an image id as the lists write it: ISIC 2019 calls some `..._downsampled`."""
    return image_id.removesuffix("_downsampled")


def is_test_group(group: str, share: float = TEST_SHARE) -> bool:
    """Return whether the hash of a group's name puts it among the `share` that is kept back.

    The same name always gives the same answer, whatever else is in the archive.
    """
    digest = hashlib.sha256(f"lesion-pipeline test list 1:{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def _named(ids: pd.Series[str], choice: str) -> set[str]:
    path = Path(choice)
    if not path.is_file():
        raise LesionError(
            f"no such test list: {choice}",
            wanted="auto, none, or a text file of image ids, one a line",
        )
    listed = set(_ids_of(path.read_text(encoding="utf-8")))
    found = {image_id for image_id in ids if canonical_id(image_id) in listed}
    if not found:
        raise LesionError(
            f"none of the {len(listed)} ids in {choice} is in the manifest",
            wanted="ids of this archive, one a line",
        )
    if len(found) < len(listed):
        log.info(
            "%s: %d of %d ids are not in the manifest",
            choice,
            len(listed) - len(found),
            len(listed),
        )
    return found


def _ids_of(text: str) -> Iterable[str]:
    for line in text.splitlines():
        image_id = line.partition("#")[0].strip()
        if image_id:
            yield canonical_id(image_id)
