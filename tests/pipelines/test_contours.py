"""Outlines follow the mask, whatever the scale."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipelines.contact_sheet import Tile, contact_sheet
from pipelines.contours import (
    PREDICTION_COLOUR,
    TRUTH_COLOUR,
    contour_paths,
    fit,
    outlined,
)


def disc(shape: tuple[int, int], centre: tuple[float, float], radius: float) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_an_outline_lies_on_the_edge_of_its_mask(scale: float) -> None:
    mask = disc((120, 160), (80, 60), 40)
    shape = (round(120 * scale), round(160 * scale))
    (path,) = contour_paths(mask, shape)
    assert np.allclose(path[0], path[-1])
    centre = np.array([(80 + 0.5) * scale - 0.5, (60 + 0.5) * scale - 0.5])
    distances = np.hypot(*(path - centre).T)
    assert abs(distances.mean() - 40 * scale) < 1
    assert np.abs(distances - 40 * scale).max() < 2


def test_a_lesion_that_leaves_the_picture_is_closed_along_its_border() -> None:
    mask = np.zeros((50, 60), bool)
    mask[:, :30] = True
    (path,) = contour_paths(mask, (50, 60))
    assert path[:, 1].min() < 1
    assert path[:, 1].max() > 48


def test_a_mask_with_a_hole_has_two_outlines() -> None:
    ring = disc((80, 80), (40, 40), 30) & ~disc((80, 80), (40, 40), 12)
    assert len(contour_paths(ring, (80, 80))) == 2


@pytest.mark.parametrize("mask", [np.zeros((40, 40), bool), np.eye(40, dtype=bool) & False])
def test_an_empty_mask_has_no_outline(mask: np.ndarray) -> None:
    assert contour_paths(mask, (40, 40)) == []


def test_truth_and_prediction_are_drawn_in_their_colours() -> None:
    image = np.full((150, 200, 3), 128, np.uint8)
    truth, prediction = disc((150, 200), (70, 75), 30), disc((150, 200), (140, 75), 30)
    picture = outlined(image, truth, prediction, 400)
    assert picture.shape == (300, 400, 3)

    def columns_of(colour: tuple[int, int, int]) -> np.ndarray:
        return np.flatnonzero((np.abs(picture.astype(int) - colour).sum(2) < 30).any(0))

    assert columns_of(TRUTH_COLOUR).max() < 210
    assert columns_of(PREDICTION_COLOUR).min() > 210
    assert np.array_equal(image, np.full((150, 200, 3), 128, np.uint8))


def test_the_two_colours_differ_in_lightness_for_the_colour_blind() -> None:
    pair = np.array([[TRUTH_COLOUR, PREDICTION_COLOUR]], np.uint8)
    lab = cv2.cvtColor(pair, cv2.COLOR_RGB2LAB)[0].astype(float)
    # The blue-yellow axis survives the common colour blindness (red-green).
    assert abs(lab[0, 2] - lab[1, 2]) > 80


def test_fit_keeps_the_aspect() -> None:
    picture, scale = fit(np.zeros((300, 600, 3), np.uint8), 200)
    assert picture.shape == (100, 200, 3)
    assert scale == pytest.approx(1 / 3)


def test_a_sheet_has_a_row_for_every_full_set_of_columns() -> None:
    tile = Tile(np.full((60, 80, 3), 90, np.uint8), "a_long_name_" * 6, "Dice 0.50 · p 0.10")
    three = contact_sheet([tile] * 3, title="Masks", columns=3, size=80)
    four = contact_sheet([tile] * 4, title="Masks", columns=3, size=80)
    assert four.height > three.height
    assert four.width == three.width


def test_a_sheet_shows_its_pictures_and_flags_their_status() -> None:
    picture = np.full((80, 80, 3), (10, 200, 30), np.uint8)
    sheet = np.asarray(
        contact_sheet([Tile(picture, "x", "score 0.10", "failed")], title="Masks", size=80)
    )
    assert (sheet == (10, 200, 30)).all(2).sum() == 80 * 80
    assert (np.abs(sheet.astype(int) - (160, 30, 36)).sum(2) < 40).any()
