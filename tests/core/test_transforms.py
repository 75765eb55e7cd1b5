"""Joint transforms: image and mask move together, borders reflect, draws are independent."""

from __future__ import annotations

import multiprocessing
import warnings
from collections import Counter

import cv2
import numpy as np
import pytest

from lesioncore import transforms
from lesioncore.artefact_transform import overlay_artefacts
from lesioncore.errors import LesionError, UsageError
from lesioncore.transforms import (
    POLICIES,
    classification_train,
    normalise,
    segmentation_train,
    stretch_only,
)


def _disc(height: int = 150, width: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Return a bright skin with an off-centre dark ellipse, and its exact mask."""
    y, x = np.mgrid[:height, :width]
    mask = ((y - 70) / 38) ** 2 + ((x - 120) / 25) ** 2 < 1
    image = np.full((height, width, 3), (205, 160, 140), np.uint8)
    image[mask] = (60, 35, 25)
    return image, mask


def _chains() -> list:
    chains = [stretch_only(96)]
    for policy in POLICIES:
        for order in ("early", "late"):
            chains.append(segmentation_train(96, policy, resize=order, seed=1))
            chains.append(classification_train(96, policy, resize=order, seed=1))
    return chains


def test_constructors_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(_chains()) == 1 + 4 * len(POLICIES)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "float32"])
def test_results_have_the_size_and_keep_the_mask_type(dtype):
    image, mask = _disc()
    for chain in _chains():
        moved_image, moved_mask = chain(image, mask.astype(dtype))
        assert moved_image.shape == (96, 96, 3) and moved_image.dtype == np.uint8
        assert moved_mask.shape == (96, 96) and moved_mask.dtype == np.dtype(dtype)
        assert moved_image.flags.c_contiguous and moved_mask.flags.c_contiguous


def test_image_alone_gives_no_mask():
    image, _ = _disc()
    assert classification_train(64, seed=0)(image)[1] is None


@pytest.mark.parametrize("order", ["early", "late"])
@pytest.mark.parametrize("strength", ["light", "medium", "isic2020"])
def test_mask_moves_with_the_image(strength, order):
    """The darkest part of a transformed image is where the transformed mask says."""
    image, mask = _disc()
    chain = segmentation_train(128, strength, resize=order, seed=3)
    overlaps = []
    for _ in range(40):
        moved, truth = chain(image, mask)
        grey = cv2.cvtColor(moved, cv2.COLOR_RGB2GRAY)
        level, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
        found = grey <= level
        overlaps.append((found & truth).sum() / max((found | truth).sum(), 1))
    assert np.min(overlaps) > 0.88, overlaps
    assert np.mean(overlaps) > 0.95


def test_geometry_is_exact_where_image_and_mask_are_the_same_picture():
    """A mask copied into the image's channels comes out as the image does, to one grey level."""
    _, mask = _disc()
    soft = cv2.GaussianBlur(mask.astype(np.uint8) * 255, (0, 0), 3)
    steps = [
        transforms._resize(96),
        transforms.alb.D4(p=1.0),
        transforms._affine(scale=0.2, shift=0.1, rotate=45, p=1.0),
    ]
    chain = transforms.JointTransform(steps, 96, seed=0)
    for _ in range(20):
        image, moved = chain(np.repeat(soft[..., None], 3, axis=2), soft)
        assert np.abs(image[..., 0].astype(int) - moved.astype(int)).max() <= 1


def test_binary_masks_stay_binary():
    image, mask = _disc()
    for values in (mask, mask.astype(np.uint8)):
        for strength in ("light", "medium", "isic2020"):
            chain = segmentation_train(96, strength, seed=5)
            for _ in range(10):
                assert set(np.unique(chain(image, values)[1])) <= {0, 1}


def test_warps_reflect_at_borders():
    """A bright picture stays bright to its corners; the mask of a full frame stays full."""
    image = np.full((120, 160, 3), 180, np.uint8)
    full = np.ones((120, 160), np.uint8)
    for strength in ("light", "medium", "isic2020"):
        chain = segmentation_train(96, strength, seed=7)
        for _ in range(30):
            moved, mask = chain(image, full)
            assert moved.min() > 60
            assert mask.min() == 1


def test_resize_comes_first_or_right_before_the_dropout():
    def names(order):
        chain = classification_train(64, "isic2020", resize=order, seed=0)._chain
        return [type(step).__name__ for step in chain.transforms]

    assert names("early")[0] == "Resize" and names("early")[-1] == "CoarseDropout"
    assert names("late")[-2:] == ["Resize", "CoarseDropout"]
    assert sorted(names("early")) == sorted(names("late"))


def test_draws_of_different_steps_are_independent():
    """Albumentations' own seeding ties the flips together; ours must show all four pictures."""
    chain = transforms.JointTransform(
        [transforms.alb.HorizontalFlip(p=0.5), transforms.alb.VerticalFlip(p=0.5)], 2, seed=0
    )
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    counts = Counter(chain(image)[0].tobytes() for _ in range(400))
    assert len(counts) == 4 and min(counts.values()) > 60


def test_seed_repeats_and_item_seed_is_independent_of_history():
    image, mask = _disc()
    first = segmentation_train(64, seed=4)(image, mask)[0]
    chain = segmentation_train(64, seed=4)
    assert np.array_equal(chain(image, mask)[0], first)
    chain.reseed(4, 2, 17)
    expected = chain(image, mask)
    for _ in range(3):
        chain(image, mask)
    chain.reseed(4, 2, 17)
    again = chain(image, mask)
    assert np.array_equal(again[0], expected[0]) and np.array_equal(again[1], expected[1])
    chain.reseed(4, 2, 18)
    assert not np.array_equal(chain(image, mask)[0], expected[0])


def _child(chain, image, queue, seed=None):
    if seed is not None:
        chain.reseed(seed)
    queue.put((chain(image)[0], cv2.getNumThreads()))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_forked_worker_gets_its_own_draws_and_one_thread():
    image, _ = _disc()
    chain = segmentation_train(64, seed=9)
    context = multiprocessing.get_context("fork")
    results = []
    for _ in range(2):
        queue = context.Queue()
        process = context.Process(target=_child, args=(chain, image, queue))
        process.start()
        results.append(queue.get(timeout=30))
        process.join()
    assert np.array_equal(results[0][0], results[1][0])  # the same worker number and seed
    assert not np.array_equal(results[0][0], chain(image)[0])
    assert results[0][1] == 1


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_a_seed_given_in_the_worker_is_kept():
    """The loader seeds a worker before its first item; the fork must not undo that."""
    image, _ = _disc()
    chain = segmentation_train(64, seed=9)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_child, args=(chain, image, queue, 31))
    process.start()
    result, threads = queue.get(timeout=30)
    process.join()
    chain.reseed(31)
    assert np.array_equal(result, chain(image)[0]) and threads == 1


def test_eval_is_deterministic_and_matches_opencv():
    image, _ = _disc(300, 400)
    expected = cv2.resize(image, (96, 96), interpolation=cv2.INTER_AREA)
    assert np.array_equal(stretch_only(96)(image)[0], expected)
    small = image[:60, :60]
    expected = cv2.resize(small, (96, 96), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(stretch_only(96)(small)[0], expected)


def test_normalise_is_channels_first_and_exact():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    result = normalise(image, mean, std)
    expected = ((image / 255 - mean) / std).transpose(2, 0, 1)
    assert result.shape == (3, 5, 7) and result.dtype == np.float32
    assert result.flags.c_contiguous
    np.testing.assert_allclose(result, expected, atol=2e-6)


def test_wrong_calls_say_what_was_wanted():
    image, mask = _disc()
    with pytest.raises(UsageError, match="light"):
        segmentation_train(64, "lihgt")
    with pytest.raises(LesionError, match="size of its image"):
        stretch_only(64)(image, mask[:10])
    with pytest.raises(LesionError, match="uint8"):
        stretch_only(64)(image.astype(np.float32))


def test_artefacts_lie_over_the_picture_and_change_with_the_seed():
    image, _ = _disc()
    drawn = [overlay_artefacts(image, seed) for seed in range(40)]
    assert all(one.shape == image.shape and one.dtype == np.uint8 for one in drawn)
    assert np.array_equal(drawn[3], overlay_artefacts(image, 3))
    changed = [float((np.abs(one.astype(int) - image) > 20).any(axis=2).mean()) for one in drawn]
    assert sum(part > 0.005 for part in changed) > 15
    # Most of the picture is still to be seen.
    assert np.median(changed) < 0.3
    # What nothing was drawn on comes back within the rounding of the tone curve.
    assert min(int(np.abs(one.astype(int) - image).max()) for one in drawn) <= 2


def test_the_strong_policy_changes_light_more_than_the_medium_one():
    image, mask = _disc()

    def spread(policy: str) -> float:
        chain = segmentation_train(64, policy, seed=5)
        return float(
            np.std([chain(image, mask)[0].mean(axis=(0, 1)) for _ in range(60)], axis=0).mean()
        )

    assert spread("strong") > 1.1 * spread("medium")
