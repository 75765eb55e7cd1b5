"""From probabilities to the mask that is meant, at the working resolution."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lesioncore.cache.entry import threshold_level

#: Part of every fingerprint: raise it when the same options would give other masks.
POSTPROCESSING_VERSION = 1
#: Likewise for `confidence`.
SCORE_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class PostProcessing:
    """How a probability map becomes a mask.

    Attributes
    ----------
    threshold : float
        Probability from which a pixel is lesion.
    largest_component : bool
        Keep only the largest 4-connected part.
    fill_holes : bool
        Holes (8-connected background that does not reach the picture's edge) become lesion.
    min_area : float
        Remove parts smaller than this fraction of the picture.
    """

    threshold: float = 0.5
    largest_component: bool = True
    fill_holes: bool = True
    min_area: float = 0.0

    def replace(self, **changes: Any) -> PostProcessing:
        """Return a copy with the changes that are not None."""
        return dataclasses.replace(self, **{k: v for k, v in changes.items() if v is not None})

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values, for cards and fingerprints."""
        return dataclasses.asdict(self)

    def __call__(self, probability: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the probabilities gated by the mask that is meant.

        Parameters
        ----------
        probability : (h, w) uint8
            Probability * 255.

        Returns
        -------
        (h, w) uint8
            At or above the threshold exactly on the mask. Parts that were removed are 0, and so
            are the pixels below the threshold that lie nearer to a removed part than to a kept
            one: no ring is left of it. Filled holes are raised to the threshold. An empty mask is
            0 everywhere.
        """
        level = threshold_level(self.threshold)
        inside = (probability >= level).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=4)
        kept = self._kept(np.asarray(stats)[:, cv2.CC_STAT_AREA], probability.size)
        if len(kept) == 0:
            return np.zeros_like(probability)
        gated = probability.copy()
        if len(kept) < count - 1:
            is_kept = np.zeros(count, dtype=bool)
            is_kept[kept] = True
            gated[~is_kept[_nearest_part(np.asarray(labels))]] = 0
        if self.fill_holes:
            holes = _holes(gated >= level)
            gated[holes] = np.maximum(gated[holes], level)
        return gated

    def _kept(self, areas: NDArray[Any], pixels: int) -> NDArray[np.int64]:
        """Return the labels of the parts that stay; `areas` are by label, 0 the background."""
        parts = np.arange(1, len(areas))
        parts = parts[areas[1:] >= self.min_area * pixels]
        if self.largest_component and len(parts) > 1:
            parts = parts[[int(np.argmax(areas[parts]))]]
        return parts


def _nearest_part(labels: NDArray[Any]) -> NDArray[Any]:
    """Return for each pixel the label (1, ...) of the part that is nearest to it.

    Parameters
    ----------
    labels : (h, w) int32
        0 is background; at least one part is there.
    """
    _, zones = cv2.distanceTransformWithLabels(
        (labels == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    # OpenCV numbers the zones itself; each is named by the one part pixel in it.
    owner = np.zeros(int(zones.max()) + 1, dtype=np.int32)
    on_part = labels > 0
    owner[zones[on_part]] = labels[on_part]
    return owner[zones]


def _holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the background of a (h, w) bool mask that does not reach the picture's edge."""
    outside = (~mask).astype(np.uint8)
    count, labels = cv2.connectedComponents(outside, connectivity=8)
    at_edge = np.zeros(count, dtype=bool)
    for line in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        at_edge[line] = True
    at_edge[0] = True  # the mask itself
    return np.asarray(~at_edge[labels])


def confidence(probability: NDArray[np.uint8], gated: NDArray[np.uint8], threshold: float) -> float:
    """Return how sure the segmenter is of a mask, in [0, 1].

    With mask `m` and probabilities `p`, the mean of `p` inside the mask times the Dice that `p`
    expects, ``2 sum(p m) / (sum(p) + sum(m))``: 1 where every pixel is certain, low for blurred
    borders, for parts that were removed and for doubtful skin outside the mask. An empty mask
    scores 0. docs/how-to/cache-and-import-masks.md says how well it finds bad masks.

    Parameters
    ----------
    probability : (h, w) uint8
        Before post-processing.
    gated : (h, w) uint8
        After it.
    threshold : float
    """
    mask = gated >= threshold_level(threshold)
    area = int(np.count_nonzero(mask))
    if area == 0:
        return 0.0
    p = probability.astype(np.float64) / 255
    inside = float(p[mask].sum())
    return (inside / area) * (2 * inside / (float(p.sum()) + area))
