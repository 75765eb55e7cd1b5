"""Copies are found by their hashes, whatever their size, quality or position; others are not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lesioncore.duplicates import COPY_SIZE, grey_copy
from lesioncore.errors import LesionError
from lesioncore.hamming import bits_apart, near_pairs
from lesioncore.likeness import ALIKE, LIKENESS_SIZE, likeness
from lesioncore.phantoms import make_phantom
from lesioncore.picture_hash import (
    both_hashes,
    is_flat,
    picture_hash,
    turned,
    turned_hashes,
    whole_copy,
)
from lesioncore.picture_search import MOST_EQUAL, likely_copies


def random_hashes(count, seed=0):
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def flip(value, bits, seed=0):
    for bit in np.random.default_rng(seed).choice(64, bits, replace=False):
        value ^= np.uint64(1) << np.uint64(bit)
    return value


def every_pair(hashes, queries, bits):
    return {
        (i, j)
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if int(queries[i] ^ hashes[j]).bit_count() <= bits
    }


@pytest.mark.parametrize("bits", [0, 3, 7])
def test_the_search_finds_what_comparing_every_pair_finds(bits):
    hashes = random_hashes(300)
    for place in range(60):  # planted copies, 0 to 9 bits away
        hashes[200 + place] = flip(hashes[place], place % 10, place)
    hashes[290:] = hashes[0]
    first, second = near_pairs(hashes, bits=bits)
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == every_pair(
        hashes, hashes, bits
    )
    queries = random_hashes(300, 1)
    queries[:50] = hashes[250:]
    first, second = near_pairs(hashes, queries, bits=bits)
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == every_pair(
        hashes, queries, bits
    )


def test_bits_apart_counts_bits():
    a = np.array([0, 1, 2**64 - 1, 2**63], np.uint64)
    assert bits_apart(a, np.zeros(4, np.uint64)).tolist() == [0, 1, 64, 1]


def test_the_search_at_its_edges():
    assert [len(part) for part in near_pairs(np.empty(0, np.uint64))] == [0, 0]
    with pytest.raises(LesionError, match="8 bits"):
        near_pairs(random_hashes(3), bits=8)
    with pytest.raises(LesionError, match="2 queries for 3 hashes"):
        near_pairs(random_hashes(3), random_hashes(2))


def test_the_hash_of_a_turned_copy_follows_from_the_hash():
    copy = grey_copy(make_phantom(3, 96).image)
    hashes = picture_hash(copy)[None]
    for turn in range(8):
        assert (turned_hashes(hashes, turn)[0] == picture_hash(turned(copy, turn))).all()
    assert len({tuple(turned_hashes(hashes, turn)[0]) for turn in range(8)}) == 8


def test_a_squeezed_copy_shares_the_whole_and_a_cropped_one_the_square():
    image = cv2.resize(make_phantom(5, 160).image, (220, 150), interpolation=cv2.INTER_AREA)
    square, whole, flat = both_hashes(image)
    assert not flat
    squeezed = cv2.resize(image, (96, 96), interpolation=cv2.INTER_AREA)
    cropped = np.ascontiguousarray(image[:, 35:185])
    assert bits_apart(both_hashes(squeezed)[0][:1], whole[:1]) <= 3
    assert bits_apart(both_hashes(cropped)[0][:1], square[:1]) <= 1
    assert bits_apart(square[:1], whole[:1]) > 7
    assert whole_copy(image).shape == (COPY_SIZE, COPY_SIZE)


def test_a_picture_of_one_colour_is_flat():
    assert both_hashes(np.full((90, 90, 3), 120, np.uint8))[2]
    assert is_flat(np.zeros((COPY_SIZE, COPY_SIZE), np.float32))


@pytest.fixture(scope="module")
def pictures():
    return [make_phantom(seed, 128).image for seed in range(40)]


def jpeg(image, quality):
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def test_copies_are_likely_and_alike_and_others_are_not(pictures):
    half = cv2.resize(pictures[4], (64, 64), interpolation=cv2.INTER_AREA)
    small = cv2.resize(pictures[6], (90, 90), interpolation=cv2.INTER_AREA)
    changed = {
        0: (jpeg(pictures[0], 30), 0),
        4: (jpeg(half, 60), 0),
        6: (jpeg(small, 45), 0),
        8: (np.clip(pictures[8] * 0.85 + 20, 0, 255).astype(np.uint8), 0),
        9: (np.ascontiguousarray(pictures[9][:, ::-1]), 2),
        11: (np.ascontiguousarray(np.rot90(pictures[11])), 5),
    }
    everything = [*pictures, *(image for image, _ in changed.values())]
    hashes = np.stack([both_hashes(image)[0] for image in everything])
    first, second, turns = likely_copies(hashes)
    copies = [grey_copy(image, LIKENESS_SIZE) for image in everything]
    found = {
        (int(i), int(j)): int(turn)
        for i, j, turn in zip(first, second, turns, strict=True)
        if likeness(turned(copies[i], int(turn)), copies[j]) >= ALIKE
    }
    wanted = {(row, 40 + at): turn for at, (row, (_, turn)) in enumerate(changed.items())}
    assert found == wanted


def test_a_copy_that_lost_its_border_is_laid_over_the_original(pictures):
    cropped = np.ascontiguousarray(pictures[2][4:-4, 4:-4])
    a, b = (grey_copy(image, LIKENESS_SIZE) for image in (pictures[2], cropped))
    assert likeness(a, b) >= ALIKE
    assert likeness(a, grey_copy(pictures[3], LIKENESS_SIZE)) < 0.5
    assert likeness(a, a) == pytest.approx(1, abs=1e-4)


def test_many_equal_hashes_do_not_become_all_their_pairs():
    hashes = np.repeat(random_hashes(3)[None], 400, axis=0)
    first, second, _ = likely_copies(hashes, turned=False)
    assert len(first) == MOST_EQUAL * (MOST_EQUAL - 1) / 2 + 2 * (400 - MOST_EQUAL)
    assert set(second.tolist()) == set(range(1, 400))
    assert (first < second).all()
