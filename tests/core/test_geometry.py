"""Boxes, crops and resizes are exact, and the inverse resize is the documented arithmetic."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lesioncore import geometry
from lesioncore.errors import LesionError


def documented_axis(size_out: int, size_in: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return left index, right index and right weight (of 256), as docs/reference says."""
    position = (np.arange(size_out) + 0.5) * (1.0 / (size_out / size_in)) - 0.5
    left = np.floor(position).astype(int)
    weight = np.rint((position - left) * 256).astype(int)
    before, last = left < 0, left >= size_in - 1
    left[before], weight[before] = 0, 0
    left[last], weight[last] = size_in - 1, 0
    return left, np.minimum(left + 1, size_in - 1), weight


def documented_resize(payload: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    p = payload.astype(np.int64)
    a, b, w = documented_axis(shape[1], p.shape[1])
    across = p[:, a] * (256 - w) + p[:, b] * w
    a, b, w = documented_axis(shape[0], p.shape[0])
    down = across[a] * (256 - w[:, None]) + across[b] * w[:, None]
    return ((down + 32768) >> 16).astype(np.uint8)


@pytest.mark.parametrize("seed", range(40))
def test_inverse_resize_is_the_documented_arithmetic_bit_for_bit(seed):
    rng = np.random.default_rng(seed)
    payload = rng.integers(0, 256, rng.integers(1, 200, 2)).astype(np.uint8)
    shape = tuple(int(v) for v in rng.integers(1, 500, 2))
    matrix = geometry.resize_matrix(payload.shape, shape)
    got = geometry.inverse_resize(payload, shape, matrix)
    assert np.array_equal(got, documented_resize(payload, shape))
    assert np.array_equal(got, geometry.inverse_resize(payload, shape))


def test_inverse_resize_does_not_depend_on_threads_or_on_the_vector_unit():
    rng = np.random.default_rng(0)
    payload = rng.integers(0, 256, (128, 96)).astype(np.uint8)
    wanted = geometry.inverse_resize(payload, (767, 1023))
    threads, optimised = cv2.getNumThreads(), cv2.useOptimized()
    try:
        cv2.setNumThreads(1)
        cv2.setUseOptimized(False)
        assert np.array_equal(geometry.inverse_resize(payload, (767, 1023)), wanted)
    finally:
        cv2.setNumThreads(threads)
        cv2.setUseOptimized(optimised)


def test_a_payload_of_the_original_size_comes_back_exactly_and_is_a_copy():
    payload = np.random.default_rng(0).integers(0, 256, (37, 53)).astype(np.uint8)
    back = geometry.inverse_resize(payload, payload.shape)
    assert np.array_equal(back, payload)
    back[:] = 0
    assert payload.any()


def test_a_payload_of_a_crop_lands_on_its_box_and_zero_lies_around_it():
    payload = np.full((8, 8), 200, np.uint8)
    matrix = geometry.box_matrix(payload.shape, (10, 20, 26, 36))
    soft = geometry.inverse_resize(payload, (40, 50), matrix)
    assert geometry.mask_box(soft) == (10, 20, 26, 36)
    assert (soft[10:26, 20:36] == 200).all()
    assert soft.sum() == 200 * 16 * 16


def test_a_crop_that_reaches_over_the_edges_is_cut_off_there():
    payload = np.arange(64, dtype=np.uint8).reshape(8, 8)
    soft = geometry.inverse_resize(payload, (6, 5), geometry.box_matrix((8, 8), (-1, -2, 7, 6)))
    assert np.array_equal(soft, payload[1:7, 2:7])


def test_a_turned_or_broken_pixel_transform_is_refused():
    payload = np.zeros((8, 8), np.uint8)
    for matrix in ([[1, 0.1, 0], [0, 1, 0]], [[1, 0, 0.3], [0, 1, 0]], [[-1, 0, 7], [0, 1, 0]]):
        with pytest.raises(LesionError, match="whole pixels"):
            geometry.inverse_resize(payload, (8, 8), np.array(matrix, float))


def test_resize_matrix_maps_pixel_centres():
    matrix = geometry.resize_matrix((128, 128), (450, 600))
    assert np.allclose(
        geometry.transform_points(matrix, np.array([[0.0, 0.0], [127.0, 127.0]])),
        [[0.5 * 600 / 128 - 0.5, 0.5 * 450 / 128 - 0.5],
         [127.5 * 600 / 128 - 0.5, 127.5 * 450 / 128 - 0.5]],
    )  # fmt: skip
    assert geometry.covered_box((128, 128), matrix) == (0, 0, 450, 600)
    round_trip = geometry.compose(matrix, geometry.invert(matrix))
    assert np.allclose(round_trip, geometry.IDENTITY)


@pytest.mark.parametrize("seed", range(10))
def test_covered_box_inverts_box_matrix_for_any_size(seed):
    rng = np.random.default_rng(seed)
    for _ in range(100):
        h, w = rng.integers(1, 3000, 2)
        y0, x0 = rng.integers(-500, 5000, 2)
        box = (int(y0), int(x0), int(y0 + rng.integers(1, 6000)), int(x0 + rng.integers(1, 6000)))
        assert geometry.covered_box((h, w), geometry.box_matrix((h, w), box)) == box


def test_compose_applies_the_first_first():
    shift = np.array([[1.0, 0, 3], [0, 1, 0]])
    double = np.array([[2.0, 0, 0], [0, 2, 0]])
    point = np.array([[1.0, 1.0]])
    got = geometry.transform_points(geometry.compose(shift, double), point)
    assert got.tolist() == [[8.0, 2.0]]


def test_a_transform_without_inverse_is_refused():
    with pytest.raises(LesionError, match="no inverse"):
        geometry.invert(np.zeros((2, 3)))


def test_mask_box_is_tight_and_half_open():
    mask = np.zeros((20, 30), bool)
    assert geometry.mask_box(mask) == (0, 0, 0, 0)
    mask[5, 7] = mask[9, 29] = True
    assert geometry.mask_box(mask) == (5, 7, 10, 30)
    assert geometry.mask_box(mask.astype(np.uint8) * 255) == (5, 7, 10, 30)


def test_dilate_box_is_square_and_stays_inside_where_it_fits():
    assert geometry.dilate_box((40, 40, 60, 60), 0.5, (100, 100)) == (30, 30, 70, 70)
    assert geometry.dilate_box((0, 0, 20, 10), 0.0, (100, 100)) == (0, 0, 20, 20)
    assert geometry.dilate_box((90, 90, 100, 100), 0.5, (100, 100)) == (80, 80, 100, 100)
    assert geometry.dilate_box((40, 45, 60, 55), 0.5, (100, 100), square=False) == (30, 35, 70, 65)


def test_dilate_box_is_centred_on_an_axis_that_it_outgrows():
    y0, x0, y1, x1 = geometry.dilate_box((0, 10, 50, 90), 0.3, (50, 100))
    assert y1 - y0 == x1 - x0 == 128
    assert y0 == -(y1 - 50)
    assert x0 == -(x1 - 100)


def test_dilate_box_refuses_the_empty_box():
    with pytest.raises(LesionError, match="empty box"):
        geometry.dilate_box((0, 0, 0, 0), 0.3, (10, 10))


@pytest.mark.parametrize("border", ["reflect", "replicate", "constant"])
def test_crop_with_padding_agrees_with_opencv_borders(border):
    image = np.random.default_rng(0).integers(0, 256, (9, 11, 3)).astype(np.uint8)
    code = {
        "reflect": cv2.BORDER_REFLECT_101,
        "replicate": cv2.BORDER_REPLICATE,
        "constant": cv2.BORDER_CONSTANT,
    }[border]
    padded = cv2.copyMakeBorder(image, 30, 30, 30, 30, code)
    got = geometry.crop_with_padding(image, (-25, -9, 20, 33), border)
    assert np.array_equal(got, padded[5:50, 21:63])


def test_crop_with_padding_inside_is_a_plain_crop_and_a_copy():
    image = np.arange(20, dtype=np.uint8).reshape(4, 5)
    crop = geometry.crop_with_padding(image, (1, 1, 3, 4))
    assert np.array_equal(crop, image[1:3, 1:4])
    crop[:] = 0
    assert image[1, 1] == 6


def test_crop_with_padding_of_one_pixel_and_bad_arguments():
    one = np.full((1, 1), 7, np.uint8)
    assert (geometry.crop_with_padding(one, (-2, -2, 3, 3)) == 7).all()
    with pytest.raises(LesionError, match="unknown border"):
        geometry.crop_with_padding(one, (-2, -2, 3, 3), "wrap")  # type: ignore[arg-type]
    with pytest.raises(LesionError, match="empty box"):
        geometry.crop_with_padding(one, (0, 0, 0, 1))
