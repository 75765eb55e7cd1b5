"""The elastic transform of albumentations up to 1.3, which warped by three points as well."""

from __future__ import annotations

from typing import Any

import albumentations as alb
import cv2
import numpy as np

#: How far the three points move. Those versions had `alpha_affine=50` pixels whatever the picture;
#: the ISIC 2020 winners read pictures of 512 to 1024 pixels, most of them 768.
REACH = 50 / 768


class ElasticTransform(alb.ElasticTransform):  # type: ignore[misc]
    """A smooth random field as in 2.0.8, after an affine warp by three random points.

    With `alpha=3, sigma=50`, which the ISIC 2020 winners had, the field alone moves pixels by a few
    hundredths of one: what their networks saw was the affine warp, gone from albumentations 2.
    """

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the two maps (H, W) float32 of where each pixel comes from."""
        maps = super().get_params_dependent_on_data(params, data)
        height, width = params["shape"][:2]
        centre, reach = np.array([width, height]) / 2, min(height, width) / 3
        points = np.array([[1, 1], [1, -1], [-1, -1]]) * reach + centre
        offsets = [[self.py_random.uniform(-REACH, REACH) for _ in range(2)] for _ in range(3)]
        moved = points + np.array(offsets) * min(height, width)
        warp = cv2.getAffineTransform(points.astype(np.float32), moved.astype(np.float32))
        x, y = maps["map_x"], maps["map_y"]
        return {
            "map_x": (warp[0, 0] * x + warp[0, 1] * y + warp[0, 2]).astype(np.float32),
            "map_y": (warp[1, 0] * x + warp[1, 1] * y + warp[1, 2]).astype(np.float32),
        }
