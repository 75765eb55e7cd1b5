"""Joint image and mask transforms for training and prediction: the only door to albumentations.

Order of every training chain: geometry (flips and transposes, one affine warp), colour, blur or
noise, resize, dropout. With ``resize="early"`` (the default) the resize comes first instead, which
makes all that follows cheap; ``"late"`` keeps it where the ISIC 2020 winners have it. Warps
reflect the picture at its borders (``BORDER_REFLECT_101``); nothing turns black but the holes of
coarse dropout. Masks are warped with the same matrix as the image and linear interpolation: a 0/1
mask stays 0/1 (rounded at one half), a soft mask stays soft.
"""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from lesioncore.config import Augment
from lesioncore.errors import LesionError, unknown_name

# Albumentations asks the package index for newer versions at import: a network call nobody wants.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as alb
import cv2

Resize = Literal["early", "late"]
Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[Any]

POLICIES: tuple[str, ...] = get_args(Augment)


class JointTransform:
    """A chain that treats an image and its mask alike.

    Draws come from one generator shared by all steps. (``Compose(seed=...)`` of albumentations
    2.0.8 gives each step its own copy of the same generator, so that e.g. horizontal and vertical
    flips always come together.) In a forked worker that nobody reseeds, the generator is seeded
    anew from the seed and the number of the worker; OpenCV is set to one thread there.

    Parameters
    ----------
    steps : sequence of albumentations transforms
    size : int
        Side of the result in pixels.
    seed : int, optional
        First seed; None draws one from the operating system.
    """

    def __init__(self, steps: Sequence[Any], size: int, seed: int | None = None) -> None:
        self.size = size
        self.seed = seed
        self._chain = alb.Compose(list(steps))
        self._pid = os.getpid()
        self.reseed(seed)

    def reseed(self, *seed: int | None) -> None:
        """Seed all draws; several integers (seed, epoch, index) make one seed.

        A data set that calls ``reseed(seed, epoch, index)`` before each item gets the same pictures
        whatever the number of workers; it costs about 40 microseconds.
        """
        parts = [int(part) for part in seed if part is not None]
        # The count comes first because NumPy takes (9,) and (9, 0) for the same seed.
        generator = np.random.default_rng([len(parts), *parts] if parts else None)
        python = random.Random(int(generator.integers(2**63)))
        self._chain.set_random_state(generator, python)
        self._settle()

    def __call__(self, image: Image, mask: Mask | None = None) -> tuple[Image, Mask | None]:
        """Transform an image and its mask.

        Parameters
        ----------
        image : (H, W, 3) uint8 RGB
        mask : (H, W) bool, uint8 or float32, optional
            Binary (0/1 or 0/255) or soft (0..255 or 0..1).

        Returns
        -------
        image : (size, size, 3) uint8 RGB
        mask : (size, size) of the dtype given, or None

        Raises
        ------
        LesionError
            The image is not (H, W, 3) uint8, or the mask is of another size.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise LesionError(
                f"an image of shape {image.shape} and type {image.dtype}", wanted="(H, W, 3) uint8"
            )
        if self._pid != os.getpid():
            self._enter_worker()
        if mask is None:
            return np.ascontiguousarray(self._chain(image=image)["image"]), None
        if mask.shape != image.shape[:2]:
            raise LesionError(
                f"a mask of {mask.shape} with an image of {image.shape[:2]} (height, width)",
                wanted="a mask of the size of its image",
            )
        given = mask.astype(np.uint8) if mask.dtype == np.bool_ else mask
        result = self._chain(image=image, mask=given)
        moved = np.ascontiguousarray(result["mask"]).astype(mask.dtype, copy=False)
        return np.ascontiguousarray(result["image"]), moved

    def _enter_worker(self) -> None:
        """In a forked copy that nobody has reseeded: each worker gets draws of its own."""
        if self.seed is None:
            self.reseed(None)
        else:
            self.reseed(self.seed, _worker_number())

    def _settle(self) -> None:
        """Note which process the draws belong to; a forked one gets a single OpenCV thread."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            # OpenCV's thread pool does not survive a fork (hangs), and workers are the parallelism.
            cv2.setNumThreads(0)


def _worker_number() -> int:
    """Return the number of the PyTorch loader worker that we are in, without importing torch."""
    data = sys.modules.get("torch.utils.data")
    info = data.get_worker_info() if data is not None else None
    return 0 if info is None else int(info.id)


def segmentation_train(
    size: int, strength: str = "medium", *, resize: Resize = "early", seed: int | None = None
) -> JointTransform:
    """Return the training chain of stage 1: as `classification_train`, without coarse dropout.

    A hole in the picture does not change the lesion's outline, and no network can see through it.
    """
    return _train(size, strength, resize, seed, dropout=False)


def stretch_only(size: int) -> JointTransform:
    """Return the chain that only stretches to `size` x `size` (area down, linear up)."""
    return JointTransform([_resize(size)], size, seed=0)


def classification_train(
    size: int, policy: str = "light", *, resize: Resize = "early", seed: int | None = None
) -> JointTransform:
    """Return the training chain of stage 2.

    Parameters
    ----------
    size : int
        Side of the result in pixels.
    policy : {"none", "light", "medium", "strong", "isic2020"}
        ``none`` only resizes; ``light`` flips, turns, shifts, scales and shakes colours; ``medium``
        does so more, with blur or noise and coarse dropout; ``strong`` is for pictures of other
        cameras and clinics: scales of 0.6 to 1.4, other shapes, light and colours, poor focus and
        compression, drawn hair, rulers, ink and dark frames; ``isic2020`` is the list of the ISIC
        2020 winners in their order (Ha, Liu and Liu, arXiv 2010.05351), several times slower.
    resize : {"early", "late"}
        Whether the resize comes first, or after all but the dropout.
    seed : int, optional
        First seed of the draws.
    """
    return _train(size, policy, resize, seed, dropout=True)


def normalise(image: Image, mean: Sequence[float], std: Sequence[float]) -> npt.NDArray[np.float32]:
    """Return ``(image / 255 - mean) / std`` with the channels first.

    Parameters
    ----------
    image : (H, W, C) uint8
    mean, std : C floats in units of [0, 1]

    Returns
    -------
    (C, H, W) float32, contiguous
    """
    scale = (1.0 / (255.0 * np.asarray(std, np.float64))).astype(np.float32)
    offset = (np.asarray(mean, np.float64) / np.asarray(std, np.float64)).astype(np.float32)
    planes = np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)
    planes *= scale[:, None, None]
    planes -= offset[:, None, None]
    return planes


def _train(
    size: int, policy: str, resize: Resize, seed: int | None, *, dropout: bool
) -> JointTransform:
    if policy not in POLICIES:
        raise unknown_name("augmentation policy", policy, POLICIES)
    if resize not in ("early", "late"):
        raise unknown_name("resize order", resize, ("early", "late"))
    with warnings.catch_warnings():
        # 2.0.8 only warns about arguments that it does not know, and then ignores them.
        warnings.simplefilter("error")
        before, after = _policy_steps(policy)
    steps = [_resize(size), *before] if resize == "early" else [*before, _resize(size)]
    return JointTransform(steps + (after if dropout else []), size, seed)


def _policy_steps(policy: str) -> tuple[list[Any], list[Any]]:
    """Return the steps before and after a late resize."""
    if policy == "light":
        return [
            alb.D4(p=1.0),
            _affine(scale=0.1, shift=0.05, rotate=20, p=0.7),
            alb.RandomBrightnessContrast(brightness_limit=0.12, contrast_limit=0.12, p=0.5),
            alb.HueSaturationValue(hue_shift_limit=5, sat_shift_limit=15, val_shift_limit=8, p=0.4),
        ], []
    if policy == "medium":
        return [
            alb.D4(p=1.0),
            _affine(scale=0.2, shift=0.08, rotate=45, p=0.85),
            alb.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.6),
            alb.HueSaturationValue(
                hue_shift_limit=10, sat_shift_limit=20, val_shift_limit=10, p=0.5
            ),
            alb.OneOf(
                [
                    alb.GaussianBlur(blur_limit=(3, 5), sigma_limit=(0.4, 1.2)),
                    alb.GaussNoise(std_range=(0.008, 0.03), per_channel=False),
                ],
                p=0.2,
            ),
        ], [_dropout(largest=0.3, p=0.4)]
    if policy == "strong":
        return _strong_steps(), [_dropout(largest=0.3, p=0.4)]
    if policy == "isic2020":
        return _isic2020_steps(), [_dropout(largest=0.375, p=0.7)]
    return [], []


def _strong_steps() -> list[Any]:
    from lesioncore.artefact_transform import Artefacts

    return [
        alb.D4(p=1.0),
        alb.OneOf(
            [
                _affine(scale=0.4, shift=0.12, rotate=45, p=0.7),
                _affine(scale=0.25, shift=0.1, rotate=30, p=0.3, keep_ratio=False),
            ],
            p=0.9,
        ),
        alb.RandomBrightnessContrast(brightness_limit=0.25, contrast_limit=0.3, p=0.6),
        alb.RandomGamma(gamma_limit=(70, 140), p=0.25),
        alb.HueSaturationValue(hue_shift_limit=14, sat_shift_limit=35, val_shift_limit=12, p=0.5),
        alb.PlanckianJitter(p=0.15),
        alb.ToGray(p=0.03),
        Artefacts(p=0.4),
        alb.OneOf(
            [
                alb.GaussianBlur(blur_limit=(3, 7), sigma_limit=(0.5, 1.8)),
                alb.MotionBlur(blur_limit=(3, 7)),
                alb.GaussNoise(std_range=(0.01, 0.05), per_channel=True),
                alb.ImageCompression(quality_range=(35, 85)),
                alb.Downscale(scale_range=(0.35, 0.75)),
            ],
            p=0.35,
        ),
    ]


def _isic2020_steps() -> list[Any]:
    from lesioncore.elastic_transform import ElasticTransform

    # Theirs is albumentations 0.4.6; docs/reference/transforms.md has the translation step by step.
    warp = {
        "interpolation": cv2.INTER_LINEAR,
        "mask_interpolation": cv2.INTER_LINEAR,
        "border_mode": cv2.BORDER_REFLECT_101,
    }
    return [
        alb.Transpose(p=0.5),
        alb.VerticalFlip(p=0.5),
        alb.HorizontalFlip(p=0.5),
        alb.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.0, p=0.75),
        alb.RandomBrightnessContrast(brightness_limit=0.0, contrast_limit=0.2, p=0.75),
        alb.OneOf(
            [
                alb.MotionBlur(blur_limit=(3, 5)),
                alb.MedianBlur(blur_limit=(3, 5)),
                # OpenCV's own kernels of 3 and 5 pixels are those of these two widths.
                alb.GaussianBlur(blur_limit=(3, 5), sigma_limit=(0.85, 1.1)),
                # Their variances of 5 to 30 grey levels as standard deviations in [0, 1].
                alb.GaussNoise(std_range=(5**0.5 / 255, 30**0.5 / 255)),
            ],
            p=0.7,
        ),
        alb.OneOf(
            [
                alb.OpticalDistortion(distort_limit=1.0, **warp),
                alb.GridDistortion(num_steps=5, distort_limit=1.0, normalized=False, **warp),
                ElasticTransform(alpha=3, sigma=50, noise_distribution="uniform", **warp),
            ],
            p=0.7,
        ),
        alb.CLAHE(clip_limit=4.0, p=0.7),
        alb.HueSaturationValue(hue_shift_limit=10, sat_shift_limit=20, val_shift_limit=10, p=0.5),
        _affine(scale=0.1, shift=0.1, rotate=15, p=0.85),
    ]


def _resize(size: int) -> Any:
    return alb.Resize(
        height=size,
        width=size,
        interpolation=cv2.INTER_LINEAR,
        mask_interpolation=cv2.INTER_LINEAR,
        area_for_downscale="image_mask",
    )


def _affine(*, scale: float, shift: float, rotate: float, p: float, keep_ratio: bool = True) -> Any:
    """Return shift, scale and rotation as one warp, so that pixels are interpolated once."""
    return alb.Affine(
        scale=(1 - scale, 1 + scale),
        translate_percent=(-shift, shift),
        rotate=(-rotate, rotate),
        keep_ratio=keep_ratio,
        interpolation=cv2.INTER_LINEAR,
        mask_interpolation=cv2.INTER_LINEAR,
        border_mode=cv2.BORDER_REFLECT_101,
        p=p,
    )


def _dropout(*, largest: float, p: float) -> Any:
    sides = (0.1, largest) if largest < 0.375 else (largest, largest)
    # Without fill_mask the mask is left as it is: the lesion is still there under the hole.
    return alb.CoarseDropout(
        num_holes_range=(1, 1), hole_height_range=sides, hole_width_range=sides, fill=0, p=p
    )
