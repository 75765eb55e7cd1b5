"""Post-processing keeps what is meant and leaves no trace of what was removed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lesioncore.cache import MaskEntry
from segstage.postprocess import PostProcessing, confidence

LEVEL = 128


def blobs(*spots: tuple[int, int, int], peak: int = 250, side: int = 96) -> np.ndarray:
    """Return smooth hills with soft borders at (y, x, radius)."""
    y, x = np.mgrid[:side, :side]
    heights = [peak / (1 + np.exp(np.hypot(y - cy, x - cx) - radius)) for cy, cx, radius in spots]
    return np.clip(np.max(heights, axis=0), 0, 255).astype(np.uint8)


def parts(mask: np.ndarray) -> int:
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[0] - 1


def test_keeps_the_largest_part_and_no_halo_of_the_other() -> None:
    probability = blobs((30, 30, 15), (75, 75, 8))
    gated = PostProcessing()(probability)
    assert parts(gated >= LEVEL) == 1
    assert np.array_equal(gated[:48, :48], probability[:48, :48])
    # The other hill's slope, below the threshold, is a ring if it is left.
    assert gated[62:, 62:].max() == 0
    assert PostProcessing(largest_component=False)(probability).max() == probability.max()
    assert parts(PostProcessing(largest_component=False)(probability) >= LEVEL) == 2


def test_the_soft_border_of_the_kept_part_stays() -> None:
    probability = blobs((48, 48, 20))
    gated = PostProcessing()(probability)
    assert np.array_equal(gated, probability)
    assert ((gated > 0) & (gated < LEVEL)).any()


def test_holes_are_filled_but_bays_are_not() -> None:
    probability = blobs((48, 48, 25))
    probability[44:50, 44:50] = 10
    probability[0:40, 46:48] = 0  # a bay from the edge of the picture
    gated = PostProcessing()(probability)
    assert (gated[44:50, 44:50] >= LEVEL).all()
    assert (gated[0:40, 46:48] < LEVEL).all()
    assert (PostProcessing(fill_holes=False)(probability)[44:50, 44:50] == 10).all()


def test_small_parts_are_removed_by_area() -> None:
    probability = blobs((30, 30, 15), (75, 75, 5))
    fraction = 200 / probability.size
    gated = PostProcessing(largest_component=False, min_area=fraction)(probability)
    assert parts(gated >= LEVEL) == 1
    assert PostProcessing(min_area=0.5)(probability).max() == 0


def test_an_empty_mask_is_zero_everywhere_and_scores_zero() -> None:
    probability = np.full((32, 32), 100, np.uint8)
    gated = PostProcessing()(probability)
    assert gated.max() == 0
    assert confidence(probability, gated, 0.5) == 0.0
    entry = MaskEntry.from_soft(
        image_id="a", image_sha256="", shape=(64, 64), payload=gated, score=0, member="0",
        in_sample=False,
    )  # fmt: skip
    assert entry.status == "empty"


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("shape", [(96, 96), (411, 287), (150, 200)])
def test_at_the_original_size_the_mask_is_one_part_without_holes(
    threshold: float, shape: tuple[int, int]
) -> None:
    generator = np.random.default_rng(5)
    noise = cv2.GaussianBlur(generator.random((96, 96)).astype(np.float32), (0, 0), 4)
    noise = (noise - noise.min()) / (noise.max() - noise.min())
    probability = (255 * noise).astype(np.uint8)
    gated = PostProcessing(threshold=threshold)(probability)
    entry = MaskEntry.from_soft(
        image_id="a", image_sha256="", shape=shape, payload=gated, threshold=threshold,
        score=0.5, member="0", in_sample=False,
    )  # fmt: skip
    assert parts(entry.mask()) == 1
    outside = (~entry.mask()).astype(np.uint8)
    count, labels = cv2.connectedComponents(outside, connectivity=8)
    edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    assert set(range(1, count)) <= set(edge.tolist())


def test_confidence_falls_with_doubt() -> None:
    def score(probability: np.ndarray) -> float:
        return confidence(probability, PostProcessing()(probability), 0.5)

    certain = np.where(blobs((48, 48, 20)) >= LEVEL, np.uint8(255), np.uint8(0))
    sharp, blurred = blobs((48, 48, 20)), blobs((48, 48, 20), peak=160)
    two = blobs((30, 30, 15), (75, 75, 14))
    assert score(certain) == 1.0
    assert 1 > score(sharp) > score(blurred) > 0
    assert score(blobs((30, 30, 15))) > score(two)


def test_options_are_plain_values() -> None:
    post = PostProcessing(threshold=0.4).replace(min_area=0.01, threshold=None)
    assert post.to_dict() == {
        "threshold": 0.4,
        "largest_component": True,
        "fill_holes": True,
        "min_area": 0.01,
    }
