"""From a probability map to the entry of a mask cache: gated, judged, boxed."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lesioncore.cache.entry import MaskEntry
from segstage.mask_traits import NO_SIZE, ExpectedSize, mask_traits
from segstage.postprocess import PostProcessing, confidence
from segstage.quality import QualityModel


def make_entry(
    probability: NDArray[np.uint8],
    postprocessing: PostProcessing,
    quality: QualityModel | None,
    *,
    image_id: str,
    image_sha256: str = "",
    shape: Sequence[int],
    member: str,
    in_sample: bool = False,
    expected: ExpectedSize = NO_SIZE,
    disagreement: float | None = None,
    traits: MutableMapping[str, dict[str, float]] | None = None,
) -> MaskEntry:
    """Return the cache entry of a probability map.

    Parameters
    ----------
    probability : (S, S) uint8, probability * 255
    postprocessing : PostProcessing
    quality : QualityModel, optional
        Estimates how good the mask is.
    image_id, image_sha256 : str
    shape : (H, W)
        Of the image.
    member : str
        Which member made the map, or "mean".
    in_sample : bool
        Whether it learned from this image.
    expected : ExpectedSize
        Size of the lesion by other means, see `segstage.quality.tile_size`.
    disagreement : float, optional
        See `segstage.views.disagreement`.
    traits : dict, optional
        Takes the traits of the mask, by image id.
    """
    gated = postprocessing(probability)
    threshold = postprocessing.threshold
    estimate, reason = None, ""
    if quality is not None or traits is not None:
        found = mask_traits(probability, gated, threshold, disagreement, *expected)
        if quality is not None:
            estimate, reason = quality.judge(found)
        if traits is not None:
            traits[image_id] = found
    return MaskEntry.from_soft(
        image_id=image_id,
        image_sha256=image_sha256,
        shape=(int(shape[0]), int(shape[1])),
        payload=gated,
        threshold=threshold,
        score=confidence(probability, gated, threshold),
        member=member,
        in_sample=in_sample,
        quality=estimate,
        disagreement=disagreement,
        reason=reason,
    )
