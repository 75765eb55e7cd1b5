"""The named policies, step by step, against tables of what they are said to be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lesioncore.phantoms import make_phantom
from lesioncore.transforms import JointTransform, alb, classification_train

ANY = 0.5  # the probability of a step within OneOf: all alike
NOISE = (5**0.5 / 255, 30**0.5 / 255)

# (name, probability, strengths); a OneOf holds a table of its own in the place of the strengths.
# github.com/haqishen/SIIM-ISIC-Melanoma-Classification-1st-Place-Solution, dataset.py: Cutout is
# called CoarseDropout and ShiftScaleRotate Affine in albumentations 2, brightness and contrast are
# one class, a variance of 5 to 30 grey levels is a standard deviation of its root.
ISIC2020: list[Any] = [
    ("Transpose", 0.5, {}),
    ("VerticalFlip", 0.5, {}),
    ("HorizontalFlip", 0.5, {}),
    (
        "RandomBrightnessContrast",
        0.75,
        {"brightness_limit": (-0.2, 0.2), "contrast_limit": (0.0, 0.0)},
    ),
    (
        "RandomBrightnessContrast",
        0.75,
        {"brightness_limit": (0.0, 0.0), "contrast_limit": (-0.2, 0.2)},
    ),
    (
        "OneOf",
        0.7,
        [
            ("MotionBlur", ANY, {"blur_limit": (3, 5)}),
            ("MedianBlur", ANY, {"blur_limit": (3, 5)}),
            ("GaussianBlur", ANY, {"blur_limit": (3, 5)}),
            ("GaussNoise", ANY, {"std_range": NOISE, "per_channel": True}),
        ],
    ),
    (
        "OneOf",
        0.7,
        [
            ("OpticalDistortion", ANY, {"distort_limit": (-1.0, 1.0), "border_mode": 4}),
            (
                "GridDistortion",
                ANY,
                {
                    "num_steps": 5,
                    "distort_limit": (-1.0, 1.0),
                    "normalized": False,
                    "border_mode": 4,
                },
            ),
            ("ElasticTransform", ANY, {"alpha": 3, "sigma": 50, "border_mode": 4}),
        ],
    ),
    ("CLAHE", 0.7, {"clip_limit": (1.0, 4.0), "tile_grid_size": (8, 8)}),
    (
        "HueSaturationValue",
        0.5,
        {"hue_shift_limit": (-10, 10), "sat_shift_limit": (-20, 20), "val_shift_limit": (-10, 10)},
    ),
    (
        "Affine",
        0.85,
        {
            "translate_percent": {"x": (-0.1, 0.1), "y": (-0.1, 0.1)},
            "scale": {"x": (0.9, 1.1), "y": (0.9, 1.1)},
            "rotate": (-15, 15),
            "shear": {"x": (0.0, 0.0), "y": (0.0, 0.0)},
            "keep_ratio": True,
            "border_mode": 4,
        },
    ),
    ("Resize", 1.0, {"height": 64, "width": 64}),
    (
        "CoarseDropout",
        0.7,
        {
            "num_holes_range": (1, 1),
            "hole_height_range": (0.375, 0.375),
            "hole_width_range": (0.375, 0.375),
            "fill": 0,
        },
    ),
]

LIGHT = [
    ("Resize", 1.0, {}),
    ("D4", 1.0, {}),
    ("Affine", 0.7, {}),
    ("RandomBrightnessContrast", 0.5, {}),
    ("HueSaturationValue", 0.4, {}),
]
MEDIUM = [
    ("Resize", 1.0, {}),
    ("D4", 1.0, {}),
    ("Affine", 0.85, {}),
    ("RandomBrightnessContrast", 0.6, {}),
    ("HueSaturationValue", 0.5, {}),
    ("OneOf", 0.2, [("GaussianBlur", ANY, {}), ("GaussNoise", ANY, {})]),
    ("CoarseDropout", 0.4, {}),
]


def _steps(policy: str, resize: str = "early", size: int = 64) -> list[Any]:
    return list(classification_train(size, policy, resize=resize, seed=0)._chain.transforms)


def _table(steps: list[Any], like: list[Any]) -> list[Any]:
    """Return steps as (name, probability, strengths), the strengths being those that `like` has."""
    rows = []
    for step, (_, _, strengths) in zip(steps, like, strict=True):
        found: Any
        if isinstance(strengths, list):
            found = _table(list(step.transforms), strengths)
        else:
            found = {name: getattr(step, name) for name in strengths}
        rows.append((type(step).__name__, step.p, found))
    return rows


@pytest.mark.parametrize(
    ("policy", "resize", "expected"),
    [("isic2020", "late", ISIC2020), ("light", "early", LIGHT), ("medium", "early", MEDIUM)],
)
def test_the_policy_is_its_table(policy, resize, expected):
    assert _table(_steps(policy, resize), expected) == expected


def _single_steps() -> list[Any]:
    """Return the 16 augmentations of `isic2020`, without the resize."""
    steps = []
    for step in _steps("isic2020", "late"):
        steps += list(step.transforms) if isinstance(step, alb.OneOf) else [step]
    return [step for step in steps if not isinstance(step, alb.Resize)]


def test_there_are_sixteen_and_each_changes_pixels():
    image = make_phantom(7, size=128).image
    steps = _single_steps()
    assert len(steps) == 16
    for step in steps:
        step.p = 1.0
        chain = JointTransform([step], 128, seed=0)
        drawn = [chain(image)[0].astype(int) for _ in range(6)]
        changed = np.mean([(one != image).any(axis=2).mean() for one in drawn])
        # Of the pixels that differ at all, by more than a rounding.
        strength = np.mean([np.abs(one - image).max() for one in drawn])
        assert changed > 0.05 and strength >= 4, (type(step).__name__, changed, strength)


def test_the_hole_is_three_eighths_of_the_side_and_lies_inside():
    bright = np.full((96, 96, 3), 200, np.uint8)
    hole = _single_steps()[-1]
    hole.p = 1.0
    chain = JointTransform([hole], 96, seed=1)
    for _ in range(10):
        black = (chain(bright)[0] == 0).all(axis=2)
        assert black.sum() == 36 * 36
        assert black.any(axis=0).sum() == black.any(axis=1).sum() == 36


def test_the_elastic_step_moves_the_mask_with_the_image():
    """The field alone moves hundredths of a pixel; the three points do what is seen."""
    phantom = make_phantom(7, size=128)
    step = next(s for s in _single_steps() if type(s).__name__ == "ElasticTransform")
    step.p = 1.0
    chain = JointTransform([step], 128, seed=2)
    picture = np.repeat(phantom.mask[..., None].astype(np.uint8) * 255, 3, axis=2)
    for _ in range(5):
        image, mask = chain(picture, phantom.mask)
        assert np.array_equal(image[..., 0] > 127, mask)
        assert 0.003 < (mask != phantom.mask).mean() < 0.25
