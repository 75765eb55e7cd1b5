"""Which of many 64-bit hashes differ in few bits, without comparing every pair.

Multi-index hashing (Norouzi, Punjani, Fleet, CVPR 2012): 64 bits are four words of 16. Of two
hashes that differ in seven bits or fewer, some word differs in one bit or none, so it is enough to
look into the 17 buckets around each word, and to compare only what lies there. No library of ours
does this: trees of scikit-learn do not, and faiss is a large compiled dependency for one search.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lesioncore.errors import LesionError

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

#: The most bits that the search can look for: four words, one bit each, and then some word has two.
MOST_BITS = 7
_WORDS, _WORD_BITS = 4, 16
_BUCKETS = 1 << _WORD_BITS
# The word itself, and each word that differs from it in one bit.
_AROUND = np.concatenate([[0], 1 << np.arange(_WORD_BITS)]).astype(np.int64)
# Pairs that are compared at once: about 100 MiB of temporary arrays.
_AT_ONCE = 2_000_000
_ONES = np.array([bin(word).count("1") for word in range(_BUCKETS)], np.uint8)


def bits_apart(a: Hashes, b: Hashes) -> npt.NDArray[np.uint8]:
    """Return in how many bits the hashes `a` (n,) and `b` (n,) differ, (n,) uint8 0 to 64."""
    words = np.bitwise_xor(a, b).view(np.uint16).reshape(-1, _WORDS)
    found = _ONES[words[:, 0]]
    for word in range(1, _WORDS):
        found += _ONES[words[:, word]]
    return found


def near_pairs(
    hashes: Hashes, queries: Hashes | None = None, *, bits: int = MOST_BITS
) -> tuple[Rows, Rows]:
    """Return the pairs of rows whose hashes differ in at most `bits` bits.

    Parameters
    ----------
    hashes : (n,) uint64
    queries : (n,) uint64, optional
        Other hashes of the same rows, those of the mirrored pictures say: ``queries[i]`` is
        compared with ``hashes[j]``. Left out, the hashes themselves.
    bits : int
        0 to `MOST_BITS`.

    Returns
    -------
    (first, second) : each (m,) int64
        With ``first < second``, each pair once, sorted.

    Notes
    -----
    Of n rows with evenly spread hashes each is compared with about ``68 n / 65536`` others. Equal
    hashes are compared pair by pair: give each value once where many rows share it.
    """
    if not 0 <= bits <= MOST_BITS:
        raise LesionError(f"{bits} bits", wanted=f"0 to {MOST_BITS}")
    hashes = np.ascontiguousarray(hashes, np.uint64)
    asked = hashes if queries is None else np.ascontiguousarray(queries, np.uint64)
    if len(asked) != len(hashes):
        raise LesionError(f"{len(asked)} queries for {len(hashes)} hashes", wanted="one a row")
    found = [np.empty(0, np.int64)]
    for word in range(_WORDS):
        for first, second in _candidates(hashes, asked, word):
            near = bits_apart(asked[first], hashes[second]) <= bits
            found.append(first[near] * len(hashes) + second[near])
    pairs = np.unique(np.concatenate(found))
    return (pairs // len(hashes), pairs % len(hashes)) if len(pairs) else (pairs, pairs)


def _candidates(hashes: Hashes, asked: Hashes, word: int) -> Iterator[tuple[Rows, Rows]]:
    """Yield rows, the first below the second, whose word number `word` differs in one bit or none.

    Those that differ in none come first, then those of each bit.
    """
    place = np.uint64(word * _WORD_BITS)
    keys = ((hashes >> place) & np.uint64(_BUCKETS - 1)).astype(np.int64)
    asked_keys = ((asked >> place) & np.uint64(_BUCKETS - 1)).astype(np.int64)
    order = np.argsort(keys, kind="stable")
    sizes = np.bincount(keys, minlength=_BUCKETS)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    for change in _AROUND:
        bucket = asked_keys ^ change
        counts = sizes[bucket]
        ends = np.cumsum(counts)
        row = 0
        while row < len(asked):
            before = ends[row - 1] if row else 0
            stop = max(row + 1, int(np.searchsorted(ends, before + _AT_ONCE, side="right")))
            part = counts[row:stop]
            first = np.repeat(np.arange(row, stop), part)
            offset = np.repeat(starts[bucket[row:stop]] - (ends[row:stop] - part - before), part)
            second = order[np.arange(len(first)) + offset]
            below = first < second
            yield first[below], second[below]
            row = stop
