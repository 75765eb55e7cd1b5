"""Entries and payloads: what a row says is what its mask is, and nothing is lost on the way."""

from __future__ import annotations

import numpy as np
import pytest

from lesioncore import geometry
from lesioncore.cache import MaskEntry, decode_payload, encode_payload, threshold_level
from lesioncore.errors import LesionError
from tests.core.mask_samples import entry, soft_payload


@pytest.mark.parametrize("encoding", ["soft8", "bin1"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (8, 8), (33, 41), (128, 128)])
def test_payloads_are_lossless(encoding, shape):
    rng = np.random.default_rng(0)
    payload = rng.integers(0, 256, shape).astype(np.uint8)
    if encoding == "bin1":
        payload = np.where(payload > 100, np.uint8(255), np.uint8(0))
    data = encode_payload(payload, encoding)
    assert np.array_equal(decode_payload(data, shape, encoding), payload)


def test_masks_at_128_pixels_are_small():
    soft = [soft_payload(seed, (128, 128)) for seed in range(20)]
    assert np.mean([len(encode_payload(p, "soft8")) for p in soft]) < 8_000 - 300
    binary = [np.where(p > 127, 255, 0).astype(np.uint8) for p in soft]
    assert np.mean([len(encode_payload(p, "bin1")) for p in binary]) < 500 - 200


def test_damaged_payloads_are_refused_and_never_unpack_into_more_than_they_should():
    data = encode_payload(soft_payload(0), "soft8")
    with pytest.raises(LesionError, match="damaged soft8 payload"):
        decode_payload(b"\x00" + data[1:], (32, 32), "soft8")
    with pytest.raises(LesionError, match="wanted: 1088 bytes"):
        decode_payload(data, (32, 34), "soft8")
    with pytest.raises(LesionError, match="damaged"):
        decode_payload(data[:-20], (32, 32), "soft8")
    bomb = encode_payload(np.zeros((5000, 5000), np.uint8), "soft8")
    with pytest.raises(LesionError, match="1025 bytes"):
        decode_payload(bomb, (32, 32), "soft8")
    with pytest.raises(LesionError, match="unknown payload encoding"):
        decode_payload(data, (32, 32), "jpeg")


@pytest.mark.parametrize("threshold, level", [(0.5, 128), (0.2, 51), (0.0, 1), (1.0, 255)])
def test_threshold_level_is_the_smallest_lesion_value(threshold, level):
    assert threshold_level(threshold) == level


def test_a_row_describes_its_thresholded_mask():
    found = entry(3, threshold=0.3)
    mask = found.mask()
    assert mask.shape == found.shape == (45, 60)
    assert mask.dtype == bool
    assert found.area == mask.sum() > 0
    assert found.box == geometry.mask_box(mask)
    assert np.array_equal(mask, found.soft() >= threshold_level(0.3))
    assert found.status == "ok"


def test_a_mask_without_a_pixel_is_empty_with_a_reason():
    found = entry(0, payload=np.full((32, 32), 127, np.uint8))
    assert (found.status, found.area, found.box) == ("empty", 0, (0, 0, 0, 0))
    assert "threshold" in found.reason


def test_a_binary_mask_at_the_original_size_comes_back_exactly():
    mask = np.random.default_rng(0).random((45, 61)) > 0.5
    found = MaskEntry.from_mask(
        image_id="a", image_sha256="", mask=mask, member="truth", in_sample=False
    )
    assert np.array_equal(found.mask(), mask)
    assert found.encoding == "bin1"
    assert found.payload_shape == mask.shape
    assert found.area == mask.sum()


def test_a_soft_mask_made_binary_describes_itself_anew():
    binary = entry(4, threshold=0.3).binary()
    assert binary.encoding == "bin1"
    assert set(np.unique(binary.payload)) == {0, 255}
    assert binary.area == binary.mask().sum()
    assert binary.box == geometry.mask_box(binary.mask())
    assert binary.binary() is binary


def test_a_failed_image_has_a_reason_and_a_mask_of_nothing():
    found = MaskEntry.failed(image_id="a", image_sha256="", reason="corrupt JPEG", shape=(4, 5))
    assert found.status == "failed"
    assert found.mask().shape == (4, 5)
    assert not found.mask().any()
    assert found.soft().dtype == np.uint8


def test_wrong_arrays_are_refused_by_name():
    with pytest.raises(LesionError, match=r"'ISIC_0000000' is .* float64"):
        entry(0, payload=np.zeros((3, 3)))
    with pytest.raises(LesionError, match="'x'"):
        MaskEntry.from_mask(
            image_id="x", image_sha256="", mask=np.zeros((3, 3, 3)), member="0", in_sample=False
        )
    with pytest.raises(LesionError, match="payload"):
        encode_payload(np.zeros((3, 3), np.float32), "soft8")  # type: ignore[arg-type]
