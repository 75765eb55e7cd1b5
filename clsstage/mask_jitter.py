"""Random errors of masks in training, so that those of prediction hurt less.

Segmenters err in a few ways: the outline lies too far out or in, the whole mask is a little off, or
there is none that can be trusted. Training sees all three.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from lesioncore.cache.entry import MaskEntry, threshold_level
from lesioncore.geometry import mask_box

GROWTH = 0.08  # the outline moves by up to this part of the lesion's longer side, out or in
SHIFT = 0.06  # and the mask by up to this part of it
DROPPED = 0.15  # of the disturbed masks, how many are left out: the full image is seen


def jitter_mask(mask: MaskEntry, rng: np.random.Generator) -> MaskEntry | None:
    """Return a mask with a random error, or None: see the image whole.

    Parameters
    ----------
    mask : MaskEntry
        Not empty.
    rng : Generator
    """
    if rng.random() < DROPPED:
        return None
    payload: Any = mask.payload
    y0, x0, y1, x1 = mask_box(payload >= threshold_level(mask.threshold))
    side = max(y1 - y0, x1 - x0)
    growth = rng.uniform(-GROWTH, GROWTH) * side
    dy, dx = rng.uniform(-SHIFT, SHIFT, size=2) * side
    radius = round(abs(growth))
    if radius:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        payload = (cv2.dilate if growth > 0 else cv2.erode)(payload, kernel)
    move = np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]])
    size = (payload.shape[1], payload.shape[0])
    payload = cv2.warpAffine(payload, move, size, borderMode=cv2.BORDER_REPLICATE)
    disturbed = MaskEntry.from_soft(
        image_id=mask.image_id,
        image_sha256=mask.image_sha256,
        shape=mask.shape,
        payload=np.asarray(payload, np.uint8),
        threshold=mask.threshold,
        score=mask.score,
        member=mask.member,
        in_sample=mask.in_sample,
        transform=mask.transform,
    )
    # A small lesion may be eroded away.
    return disturbed if disturbed.area else mask
