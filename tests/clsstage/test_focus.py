"""Focus modes: one base test for all of them, then what each promises."""

from __future__ import annotations

import numpy as np
import pytest

from clsstage.focus import FOCUS_MODES, apply_focus, focus_box, parse_focus
from lesioncore.errors import UsageError
from lesioncore.phantoms import make_phantom

DEFAULT = "dilated_crop+soft_background"
NEEDS_MASK = [mode for mode in (*FOCUS_MODES, DEFAULT) if mode != "full"]
SIZE = 48


@pytest.fixture(scope="module")
def picture() -> tuple[np.ndarray, np.ndarray]:
    phantom = make_phantom(5, size=96)
    return phantom.image, phantom.mask.astype(np.uint8) * 255


@pytest.mark.parametrize("mode", [*FOCUS_MODES, DEFAULT, "crop+mask_channel"])
def test_every_focus_gives_a_square_and_changes_nothing_it_was_given(picture, mode):
    image, soft = picture
    before = image.copy(), soft.copy()
    seen = apply_focus(image, soft, mode, size=SIZE)
    assert seen.shape == (SIZE, SIZE, parse_focus(mode).channels)
    assert seen.dtype == np.uint8
    assert np.array_equal(image, before[0])
    assert np.array_equal(soft, before[1])
    assert np.array_equal(seen, apply_focus(image, soft, mode, size=SIZE))


@pytest.mark.parametrize("mode", NEEDS_MASK)
@pytest.mark.parametrize("empty", [True, False])
def test_without_a_mask_every_focus_is_the_full_image(picture, mode, empty):
    image, soft = picture
    seen = apply_focus(image, np.zeros_like(soft) if empty else None, mode, size=SIZE)
    assert np.array_equal(seen[..., :3], apply_focus(image, soft, "full", size=SIZE))
    assert not seen[..., 3:].any()


@pytest.mark.parametrize("mode", NEEDS_MASK)
def test_soft_and_binary_masks_of_one_lesion_look_alike(picture, mode):
    import cv2

    image, soft = picture
    blurred = cv2.GaussianBlur(soft, (0, 0), 1.0)
    a = apply_focus(image, soft, mode, size=SIZE).astype(int)
    b = apply_focus(image, blurred, mode, size=SIZE, level=128).astype(int)
    assert np.abs(a - b).mean() < 12


@pytest.mark.parametrize("mode", NEEDS_MASK)
def test_a_mask_that_covers_everything_or_one_pixel_works(picture, mode):
    image, soft = picture
    dot = np.zeros_like(soft)
    dot[0, -1] = 255
    for mask in (np.full_like(soft, 255), dot):
        assert apply_focus(image, mask, mode, size=SIZE).shape[:2] == (SIZE, SIZE)


def test_masks_of_another_size_are_refused(picture):
    image, soft = picture
    with pytest.raises(ValueError, match="differ in size"):
        apply_focus(image, soft[:-1], "crop")


def test_the_dilated_crop_is_a_square_with_the_margin_around_the_lesion():
    box = focus_box((40, 50, 60, 60), (200, 200), "dilated_crop", margin=0.3)
    assert box == (34, 39, 66, 71)  # 20 wide, 6 on every side


def test_crops_move_inside_the_image():
    assert focus_box((0, 0, 20, 20), (100, 100), "dilated_crop", margin=0.5) == (0, 0, 40, 40)
    shifted = focus_box((80, 80, 95, 95), (100, 100), "dilated_crop", shift=(0.5, -9.0))
    assert shifted == (76, 0, 100, 24)


def test_the_margin_gives_way_before_a_crop_leaves_the_image():
    # 120 long in an image 150 high: 30 % margins would need 192.
    top, left, bottom, right = focus_box((10, 20, 100, 140), (150, 200), "dilated_crop")
    assert (bottom - top, right - left) == (150, 150)


def test_a_lesion_longer_than_the_short_side_gives_a_rectangle():
    assert focus_box((0, 10, 100, 190), (100, 200), "dilated_crop") == (0, 10, 100, 190)


def test_the_soft_background_keeps_the_lesion_and_never_turns_black(picture):
    image, soft = picture
    seen = apply_focus(image, soft, "soft_background", blur=1.0)
    lesion = soft > 0
    assert np.abs(seen[lesion].astype(int) - image[lesion]).max() <= 1
    outside = ~lesion
    assert seen[outside].min() >= min(20, image[outside].min())
    # Surroundings keep their mean colour and lose their detail.
    far = ~_dilated(lesion, 12)
    assert np.abs(seen[far].mean(0) - image[far].mean(0)).max() < 6
    assert seen[far].std(0).mean() < image[far].std(0).mean()


def test_no_blur_is_no_change(picture):
    image, soft = picture
    seen = apply_focus(image, soft, "soft_background", blur=0.0).astype(int)
    assert np.abs(seen - image).max() <= 1


def test_the_controls_hide_what_they_say(picture):
    image, soft = picture
    lesion = soft > 0
    only = apply_focus(image, soft, "lesion_only")
    assert np.array_equal(only[lesion], image[lesion])
    assert (only[~lesion] == 128).all()
    without = apply_focus(image, soft, "background_only")
    assert (without[lesion] == 128).all()
    rows = np.flatnonzero(lesion.any(1))
    if rows[0] > 20:
        assert np.array_equal(without[: rows[0] - 20], image[: rows[0] - 20])


def test_the_hard_background_has_one_colour_of_the_surroundings(picture):
    image, soft = picture
    lesion = soft > 0
    seen = apply_focus(image, soft, "hard_background")
    assert np.array_equal(seen[lesion], image[lesion])
    assert len(np.unique(seen[~lesion], axis=0)) == 1
    assert np.abs(seen[~lesion][0] - image[~lesion].mean(0)).max() <= 1


def test_the_mask_channel_is_the_mask(picture):
    image, soft = picture
    seen = apply_focus(image, soft, "mask_channel")
    assert np.array_equal(seen[..., :3], image)
    assert np.array_equal(seen[..., 3], soft)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("crop+dilated_crop", "twice"),
        ("soft_background+lesion_only", "twice"),
        ("crop+crop", "twice"),
        ("dilatedcrop", "did you mean 'dilated_crop'"),
        ("", "empty"),
    ],
)
def test_focus_names_that_make_no_sense_are_refused(text, says):
    with pytest.raises(UsageError, match=says):
        parse_focus(text)


def _dilated(mask: np.ndarray, by: int) -> np.ndarray:
    import cv2

    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * by + 1, 2 * by + 1), np.uint8)) > 0
