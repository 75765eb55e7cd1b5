"""Distances to the outline of a mask, for the boundary loss."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor


def signed_distance(masks: Tensor) -> Tensor:
    """Return the distance of each pixel to the outline, negative inside.

    Parameters
    ----------
    masks : (B, H, W) bool

    Returns
    -------
    (B, H, W) float32 on the CPU
        In parts of the longer side. 0 everywhere for a mask that is empty or full: it has no
        outline.
    """
    found = np.zeros(tuple(masks.shape), np.float32)
    for number, mask in enumerate(masks.cpu().numpy()):
        if mask.any() and not mask.all():
            inside = mask.astype(np.uint8)
            out = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3)
            # One is taken off inside, so that the outline lies on the mask's own border pixels.
            into = np.maximum(cv2.distanceTransform(inside, cv2.DIST_L2, 3) - 1, 0)
            found[number] = (out - into) / max(mask.shape)
    return torch.from_numpy(found)
