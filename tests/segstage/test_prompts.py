"""Prompts that need no hand: boxes of masks, the centre, what stands out from the skin."""

from __future__ import annotations

import numpy as np
import pytest

from segstage.prompts import (
    WHOLE,
    Prompt,
    centre_prior,
    grow,
    jitter,
    largest_part,
    mask_prompt,
    saliency,
    saliency_prompt,
    whole_image,
)


def skin(height: int = 120, width: int = 160) -> np.ndarray:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 3, (height, width, 3))
    return np.clip(np.array([220, 180, 160]) + noise, 0, 255).astype(np.uint8)


def ellipse(shape: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float]):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1


def test_the_box_of_a_mask_is_half_open_and_of_its_largest_part() -> None:
    mask = np.zeros((10, 20), bool)
    mask[2:6, 5:15] = True
    mask[9, 19] = True
    prompt = mask_prompt(mask, margin=0.0)
    assert prompt is not None
    assert prompt.box == (0.2, 0.25, 0.6, 0.75)
    assert prompt.point is not None
    y, x = prompt.point
    assert mask[int(y * 10), int(x * 20)]


def test_the_margin_is_of_the_box_and_ends_at_the_picture() -> None:
    assert grow((0.2, 0.4, 0.6, 0.6), 0.1) == pytest.approx((0.16, 0.38, 0.64, 0.62))
    assert grow((0.0, 0.0, 1.0, 0.5), 0.2) == pytest.approx((0.0, 0.0, 1.0, 0.6))


def test_an_empty_mask_gives_no_prompt() -> None:
    assert mask_prompt(np.zeros((8, 8), bool)) is None
    assert largest_part(np.zeros((8, 8), bool)) is None


def test_the_point_of_a_ring_lies_on_it() -> None:
    ring = ellipse((60, 60), (30, 30), (25, 25)) & ~ellipse((60, 60), (30, 30), (15, 15))
    prompt = mask_prompt(ring)
    assert prompt is not None and prompt.point is not None
    y, x = prompt.point
    assert ring[int(y * 60), int(x * 60)]


def test_plain_prompts() -> None:
    assert whole_image() == Prompt(WHOLE)
    assert centre_prior(0.5).box == (0.25, 0.25, 0.75, 0.75)


def test_what_differs_from_the_skin_is_found_where_it_lies() -> None:
    image = skin()
    lesion = ellipse((120, 160), (50, 90), (25, 30))
    image[lesion] = (100, 60, 50)
    prompt = saliency_prompt(image, margin=0.0)
    assert prompt is not None
    expected = (25 / 120, 60 / 160, 75 / 120, 120 / 160)
    assert prompt.box == pytest.approx(expected, abs=0.04)
    found = saliency(image)
    assert found.shape == (120, 160)
    assert found[lesion].mean() > 5 * found[~lesion].mean()


def test_dark_corners_are_not_the_lesion() -> None:
    image = skin()
    image[~ellipse((120, 160), (60, 80), (75, 90))] = 4
    lesion = ellipse((120, 160), (60, 80), (20, 20))
    image[lesion] = (120, 80, 70)
    prompt = saliency_prompt(image, margin=0.0)
    assert prompt is not None
    assert prompt.box == pytest.approx((40 / 120, 60 / 160, 80 / 120, 100 / 160), abs=0.06)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_plain_picture_gives_no_prompt(level: int) -> None:
    assert saliency_prompt(np.full((50, 50, 3), level, np.uint8)) is None


def test_jitter_moves_each_side_by_its_own_part_of_the_box() -> None:
    start = Prompt((0.2, 0.2, 0.6, 0.4), (0.4, 0.3))
    moved = jitter(start, np.array([1.0, -1.0, 0.0, 0.5]), amount=0.1)
    assert moved.box == pytest.approx((0.24, 0.18, 0.6, 0.41))
    assert moved.point == start.point
    assert jitter(start, np.zeros(4)) == start
