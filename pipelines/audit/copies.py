"""Images that show the same picture: equal pixels, and near copies that a second look confirmed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from lesioncore.devices import choose_workers
from lesioncore.duplicates import grey_copy
from lesioncore.images import read_image
from lesioncore.likeness import ALIKE, LIKENESS_SIZE, likeness
from lesioncore.loading import make_loader
from lesioncore.picture_hash import turned, whole_copy
from lesioncore.picture_search import likely_copies
from lesioncore.progress import log, track
from pipelines.audit.looks import SQUARE, WHOLE

if TYPE_CHECKING:
    import pandas as pd

Rows = npt.NDArray[np.int64]
_BATCH = 64


@dataclass(frozen=True)
class Copies:
    """Which rows of a manifest show the same picture.

    Attributes
    ----------
    exact : list of (k,) int64
        Rows whose pictures have the same pixels, two or more each.
    near : list of (k,) int64
        Rows whose pictures are near copies of one another, in chains; rows of `exact` that are
        among them count as well. No group is equal to one of `exact`.
    same_bytes : int
        How many of the groups of `exact` have equal files.
    pairs : (m, 2) int64
        Near copies, as many pairs as join each group.
    alike : (m,) float
        Their likeness, see `lesioncore.likeness`.
    turns : (m,) int64
        0 where the first looks like the second as it is, else how it is mirrored or turned.
    candidates : int
        Pairs that the second look was taken at.
    """

    exact: list[Rows]
    near: list[Rows]
    same_bytes: int
    pairs: Rows
    alike: npt.NDArray[np.float64]
    turns: Rows
    candidates: int


def find_copies(manifest: pd.DataFrame, looks: pd.DataFrame, *, workers: int = -1) -> Copies:
    """Return the copies among the images of a manifest.

    Parameters
    ----------
    manifest, looks : DataFrame
        From `pipelines.audit.looks.look_at_images`.
    workers : int
        Processes that read the pictures of likely pairs again; -1 chooses.
    """
    seen = np.flatnonzero(looks["seen"].to_numpy(bool))
    exact = _grouped(looks["pixels_sha256"].to_numpy(object)[seen], seen)
    same = sum(looks["sha256"].iloc[rows].nunique() == 1 for rows in exact)
    # One picture of each kind of pixels is enough to look for near copies.
    later = np.concatenate([rows[1:] for rows in exact]) if exact else np.empty(0, np.int64)
    flat = looks["flat"].to_numpy(object)[seen] == True  # noqa: E712 - null where not seen
    alone = np.setdiff1d(seen[~flat], later)
    pairs, alike, turns, candidates = _near(manifest, looks, alone, workers)
    near = _chains(exact, pairs, len(manifest))
    log.info("%d groups of equal pictures, %d pairs of near copies", len(exact), len(pairs))
    return Copies(exact, near, same, pairs, alike, turns, candidates)


def _near(
    manifest: pd.DataFrame, looks: pd.DataFrame, rows: Rows, workers: int
) -> tuple[Rows, npt.NDArray[np.float64], Rows, int]:
    """Return the confirmed pairs among rows: pairs, likeness, turns, and how many were likely."""
    views = {"square": looks[list(SQUARE)].to_numpy(np.uint64)[rows]}
    whole = looks[list(WHOLE)].to_numpy(np.uint64)[rows]
    if (whole != views["square"]).any():
        views["whole"] = whole
    likely = {name: likely_copies(hashes) for name, hashes in views.items()}
    count = sum(len(first) for first, _, _ in likely.values())
    used = np.unique(np.concatenate([part for f, s, _ in likely.values() for part in (f, s)]))
    copies = _read_copies(manifest["image"].iloc[rows[used]], workers)
    joined = _Joined(len(used))
    sure: list[tuple[int, int, float, int]] = []
    for view, (name, found) in enumerate(likely.items()):
        places = (np.searchsorted(used, part).tolist() for part in found[:2])
        listed = list(zip(*places, found[2].tolist(), strict=True))
        for first, second, turn in track(listed, f"comparing copies ({name})"):
            if joined.root(first) == joined.root(second):
                continue
            a, b = (copies[at, view].astype(np.float32) for at in (first, second))
            alike = likeness(turned(a, turn), b)
            if alike >= ALIKE:
                joined.join(first, second)
                sure.append((first, second, alike, turn))
    table = np.array(sure, np.float64).reshape(-1, 4)
    pairs = rows[used[table[:, :2].astype(np.int64)]]
    return pairs, table[:, 2], table[:, 3].astype(np.int64), count


class _Joined:
    """Sets of pictures that are known to be copies: pairs within one need no further look."""

    def __init__(self, count: int) -> None:
        self.above = list(range(count))

    def root(self, one: int) -> int:
        while self.above[one] != one:
            self.above[one] = self.above[self.above[one]]
            one = self.above[one]
        return one

    def join(self, one: int, other: int) -> None:
        self.above[self.root(one)] = self.root(other)


def _read_copies(images: pd.Series, workers: int) -> npt.NDArray[np.uint8]:
    """Return the grey copies of images, centre square and whole, (n, 2, S, S) uint8."""
    read = _Copies(images)
    count = choose_workers(workers) if len(read) > 4 * _BATCH else 0
    loader = make_loader(read, _BATCH, workers=count, collate=list)
    found = [copy for batch in track(loader, "reading likely copies") for copy in batch]
    return np.stack(found) if found else np.empty((0, 2, LIKENESS_SIZE, LIKENESS_SIZE), np.uint8)


class _Copies(Dataset[npt.NDArray[np.uint8]]):
    def __init__(self, images: pd.Series) -> None:
        self.images = np.asarray(images, dtype=np.str_)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> npt.NDArray[np.uint8]:
        image = read_image(str(self.images[row]))
        copies = [grey_copy(image, LIKENESS_SIZE), whole_copy(image, LIKENESS_SIZE)]
        return np.stack(copies).round().astype(np.uint8)


def _grouped(keys: npt.NDArray[np.object_], rows: Rows) -> list[Rows]:
    """Return the rows that share a key, where two or more do, in order."""
    import pandas as pd

    codes, _ = pd.factorize(keys)
    order = np.argsort(codes, kind="stable")
    cuts = np.flatnonzero(np.diff(codes[order])) + 1
    return [np.sort(rows[part]) for part in np.split(order, cuts) if len(part) > 1]


def _chains(exact: list[Rows], pairs: Rows, count: int) -> list[Rows]:
    """Return the connected groups that hold a pair, equal pictures of theirs included."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(pairs):
        return []
    same = [np.stack([np.full(len(g) - 1, g[0]), g[1:]], axis=1) for g in exact]
    edges = np.concatenate([pairs, *same])
    ones = np.ones(len(edges), np.int8)
    graph = coo_array((ones, (edges[:, 0], edges[:, 1])), shape=(count, count))
    label = connected_components(graph, directed=False)[1]
    rows = np.flatnonzero(np.isin(label, label[pairs[:, 0]]))
    return _grouped(label[rows].astype(object), rows)
