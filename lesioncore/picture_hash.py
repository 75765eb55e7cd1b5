"""A hash of what a picture shows, which survives another size and JPEG quality.

As pHash (Zauner 2010) the signs of cosine frequencies of a small grey copy, three words of 64 bits
from coarse to fine: the first is searched (`lesioncore.hamming`), the others tell at once which
finds are not worth a look at the pictures. The lowest frequencies are left out: most photographs
of lesions share a dark spot in the middle and a bright border, and only what is finer tells them
apart. The signs are those about zero, not about the median, so that the hash of a mirrored or
turned picture follows from the picture's own.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from lesioncore.duplicates import COPY_SIZE, grey_copy

Words = npt.NDArray[np.uint64]

#: Words of 64 bits in a hash.
WORDS = 3
#: Raise it when the same picture would get another hash.
HASH_VERSION = 1
#: Grey levels: a picture whose detail varies less shows nothing that could be recognised.
FLAT = 0.5
# Frequencies (vertical, horizontal) in half waves a side whose sum is at least this.
_LOWEST = 5


def _frequencies() -> npt.NDArray[np.int64]:
    """Return the frequencies of each word, (WORDS, 64, 2); a word with (u, v) has (v, u) too."""
    pairs = [(u, v) for u in range(COPY_SIZE) for v in range(u + 1) if u + v >= _LOWEST]
    pairs.sort(key=lambda uv: (uv[0] ** 2 + uv[1] ** 2, uv))
    words: list[list[tuple[int, int]]] = []
    for _ in range(WORDS):
        word: list[tuple[int, int]] = []
        left = []
        for u, v in pairs:
            both = list(dict.fromkeys([(u, v), (v, u)]))
            if len(word) + len(both) <= 64:
                word += both
            else:
                left.append((u, v))
        words.append(word)
        pairs = left
    return np.array(words)


_UV = _frequencies()
_TURNED = np.array(
    [[np.flatnonzero((word == uv[::-1]).all(axis=1))[0] for uv in word] for word in _UV]
)


def whole_copy(image: npt.NDArray[np.uint8], size: int = COPY_SIZE) -> npt.NDArray[np.float32]:
    """Return the whole of an (H, W, 3) uint8 RGB image as (size, size) float32 grey levels.

    Its sides are squeezed into a square, as many make their images ready for a network;
    `lesioncore.duplicates.grey_copy` takes the centre square, as others do.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)


def is_flat(copy: npt.NDArray[np.float32]) -> bool:
    """Whether a grey copy shows nothing by which it could be recognised; its hash is noise."""
    return bool((copy - cv2.GaussianBlur(copy, (0, 0), 3)).std() < FLAT)


def picture_hash(copy: npt.NDArray[np.float32]) -> Words:
    """Return the hash of a grey copy.

    Parameters
    ----------
    copy : (COPY_SIZE, COPY_SIZE) float32
        From `grey_copy` or `whole_copy`.

    Returns
    -------
    (WORDS,) uint64
    """
    waves = cv2.dct(copy)[_UV[..., 0], _UV[..., 1]]
    return _as_words(np.asarray(waves > 0)[None])[0]


def turned_hashes(hashes: Words, turn: int) -> Words:
    """Return the hashes (n, WORDS) uint64 of the pictures as `turned` shows them."""
    bits = _as_bits(hashes)
    if turn & 4:
        bits = np.take_along_axis(bits, _TURNED[None], axis=2)
    for axis, flag in ((0, 1), (1, 2)):
        if turn & flag:
            # A mirrored wave of an odd number of half waves changes its sign.
            bits = bits ^ (_UV[..., axis] % 2 == 1)
    return _as_words(bits)


def turned(copy: npt.NDArray[np.float32], turn: int) -> npt.NDArray[np.float32]:
    """Return a square copy in one of its eight positions, 0 as it is.

    4 transposes; then 1 turns it upside down and 2 swaps left and right.
    """
    shown = copy.T if turn & 4 else copy
    shown = shown[::-1] if turn & 1 else shown
    return np.ascontiguousarray(shown[:, ::-1] if turn & 2 else shown)


def both_hashes(image: npt.NDArray[np.uint8]) -> tuple[Words, Words, bool]:
    """Return the hash of the centre square and of the whole of an image, and whether it is flat.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB

    Returns
    -------
    (square, whole, flat) : (WORDS,) uint64 twice, bool
        The hashes are equal for a square image.
    """
    copy = grey_copy(image)
    square = picture_hash(copy)
    is_square = image.shape[0] == image.shape[1]
    return square, square if is_square else picture_hash(whole_copy(image)), is_flat(copy)


def _as_words(bits: npt.NDArray[np.bool_]) -> Words:
    """Return (n, WORDS, 64) bool as (n, WORDS) uint64, the first bit the lowest."""
    packed = np.ascontiguousarray(np.packbits(bits, axis=2, bitorder="little"))
    return packed.view("<u8")[..., 0].astype(np.uint64)


def _as_bits(words: Words) -> npt.NDArray[np.bool_]:
    flat = np.ascontiguousarray(words).astype("<u8").view(np.uint8).reshape(*words.shape, 8)
    return np.unpackbits(flat, axis=2, bitorder="little").astype(bool)
