"""Which of many pictures may be copies of one another, by their hashes alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lesioncore.hamming import MOST_BITS, bits_apart, near_pairs
from lesioncore.picture_hash import Words, turned_hashes

Rows = npt.NDArray[np.int64]

#: Positions that a picture is looked for in: as it is, mirrored, turned.
TURNS = 8
#: Most bits by which the first words of two copies differ: as they are, and mirrored or turned.
#: Half of all lesions are nearly symmetric; programs that mirror pictures seldom squeeze them too.
BITS, BITS_TURNED = MOST_BITS, 5
#: Most bits by which the other two words differ, of 128. Copies at JPEG quality 30, half the size
#: or 64 pixels reach 22, crops and other white balances 41, and 98 % of the false finds lie above.
FINE_BITS = 32
#: Pictures with the same first word that are compared with all others; the rest, with two of these.
MOST_EQUAL = 16


def likely_copies(hashes: Words, *, turned: bool = True) -> tuple[Rows, Rows, Rows]:
    """Return the pairs of pictures whose hashes are alike.

    Parameters
    ----------
    hashes : (n, WORDS) uint64
        From `lesioncore.picture_hash`; of pictures that are not flat.
    turned : bool
        Look for mirrored and turned copies too.

    Returns
    -------
    (first, second, turn) : each (m,) int64
        ``first < second``, and the position (`lesioncore.picture_hash.turned`) in which the first
        looks like the second. A pair may be found in several positions.
    """
    rank, head = _ranks(hashes[:, 0])
    rows = np.flatnonzero(rank < MOST_EQUAL)
    found = []
    for turn in range(TURNS if turned else 1):
        asked = turned_hashes(hashes, turn)
        bits = BITS if turn == 0 else BITS_TURNED
        first, second = near_pairs(hashes[rows, 0], asked[rows, 0], bits=bits)
        first, second = rows[first], rows[second]
        if turn == 0:
            rest = np.flatnonzero(rank >= MOST_EQUAL)
            first = np.concatenate([first, head[rest, 0], head[rest, 1]])
            second = np.concatenate([second, rest, rest])
        fine = bits_apart(asked[first, 1], hashes[second, 1]).astype(np.int64)
        fine += bits_apart(asked[first, 2], hashes[second, 2])
        near = fine <= FINE_BITS
        found.append((first[near], second[near], np.full(int(near.sum()), turn)))
    first, second, turns = (np.concatenate(part) for part in zip(*found, strict=True))
    return first, second, turns


def _ranks(words: npt.NDArray[np.uint64]) -> tuple[Rows, Rows]:
    """Return which of the rows with its word each row is (0 the first), and the first two, (n, 2).

    The second of a word that one row alone has is that row.
    """
    _, group, sizes = np.unique(words, return_inverse=True, return_counts=True)
    order = np.argsort(group, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rank = np.empty(len(words), np.int64)
    rank[order] = np.arange(len(words)) - starts[group[order]]
    second = order[starts + np.minimum(1, sizes - 1)]
    return rank, np.stack([order[starts][group], second[group]], axis=1)
