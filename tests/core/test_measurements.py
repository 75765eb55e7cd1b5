"""Shape and colour of masks whose figures are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesioncore.colour import (
    LESION_COLOURS,
    colour_difference,
    individual_typology_angle,
    shares_of_colours,
    skin_ring,
    to_lab,
)
from lesioncore.errors import LesionError
from lesioncore.measurements import COLOUR, MEASUREMENTS, SHAPE, measure, tile_mm_per_pixel
from lesioncore.shape import asymmetry, border_contact, outline_of, perimeter, principal_axes

SKIN, LESION = (220, 180, 160), (100, 60, 40)
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "measurements.md"


def ellipse(
    size: int = 200, major: float = 60, minor: float = 60, turn: float = 0.0, x: float = 0
) -> np.ndarray:
    """Return a (size, size) bool ellipse with these half axes, turned by `turn` radians."""
    v, u = np.mgrid[:size, :size] - (size - 1) / 2
    u = u - x
    a, b = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
    return (a / major) ** 2 + (b / minor) ** 2 < 1


def picture(mask: np.ndarray) -> np.ndarray:
    image = np.full((*mask.shape, 3), SKIN, np.uint8)
    image[mask] = LESION
    return image


def shape_of(mask: np.ndarray) -> dict[str, float]:
    found = measure(picture(mask), mask)
    return {name: value for name in SHAPE if (value := found[name]) is not None}


def test_a_disc_is_round_symmetric_and_has_equal_axes():
    found = shape_of(ellipse())
    assert found["area_px"] == pytest.approx(np.pi * 60**2, rel=0.01)
    assert found["compactness"] == pytest.approx(1, abs=0.02)
    assert found["solidity"] == pytest.approx(1, abs=0.02)
    assert found["asymmetry"] == pytest.approx(0, abs=0.01)
    assert found["radial_variation"] == pytest.approx(0, abs=0.01)
    assert found["eccentricity"] == pytest.approx(0, abs=0.05)
    for name in ("major_axis_px", "minor_axis_px", "equivalent_diameter_px", "max_feret_px"):
        assert found[name] == pytest.approx(120, rel=0.02), name
    assert found["perimeter_px"] == pytest.approx(np.pi * 120, rel=0.02)
    assert found["border_contact"] == 0


@pytest.mark.parametrize("turn", [0.0, 0.4, np.pi / 4, 1.3])
def test_an_ellipse_keeps_its_axes_however_it_is_turned(turn):
    found = shape_of(ellipse(major=80, minor=40, turn=turn))
    assert found["major_axis_px"] == pytest.approx(160, rel=0.01)
    assert found["minor_axis_px"] == pytest.approx(80, rel=0.01)
    assert found["max_feret_px"] == pytest.approx(160, rel=0.02)
    assert found["eccentricity"] == pytest.approx(np.sqrt(0.75), abs=0.01)
    assert found["asymmetry"] < 0.015
    assert found["compactness"] > 1.15


def test_the_major_axis_points_along_the_lesion():
    axes = principal_axes(ellipse(major=80, minor=40, turn=0.4))
    assert axes.angle == pytest.approx(0.4, abs=0.01)
    assert (axes.y, axes.x) == pytest.approx((99.5, 99.5), abs=0.01)


def test_half_a_disc_is_asymmetric_over_one_axis_alone():
    half = ellipse()
    half[:, :100] = False
    over_major, over_minor = asymmetry(half, principal_axes(half))
    # Folded at its centroid (4r / 3 pi from the cut), half a disc misses itself by 0.185.
    assert over_major == pytest.approx(0.185, abs=0.01)
    assert over_minor == pytest.approx(0, abs=0.01)


def test_asymmetry_does_not_change_when_the_lesion_is_turned():
    half = ellipse(size=300)
    half[:, :150] = False
    quarter = np.rot90(half).copy()
    a, b = shape_of(half)["asymmetry"], shape_of(quarter)["asymmetry"]
    assert a == pytest.approx(b, abs=1e-3)
    assert a == pytest.approx(0.0925, abs=0.01)


def test_a_bitten_outline_is_less_solid_and_less_compact():
    bitten = ellipse() & ~ellipse(major=30, minor=30, x=55)
    found = shape_of(bitten)
    assert found["solidity"] < 0.92
    assert found["compactness"] > 1.2
    assert found["radial_variation"] > 0.1


@pytest.mark.parametrize("turn", [0.0, 0.7])
def test_the_perimeter_is_that_of_scikit_image(turn):
    from skimage.measure import perimeter_crofton

    mask = ellipse(major=70, minor=33, turn=turn)
    assert perimeter(mask) == pytest.approx(perimeter_crofton(mask, directions=4))


def test_one_pixel_is_measured():
    one = np.zeros((9, 9), bool)
    one[4, 4] = True
    found = measure(picture(one), one)
    assert found["area_px"] == 1
    assert found["solidity"] == 1
    assert found["max_feret_px"] == pytest.approx(np.sqrt(2))
    assert found["asymmetry"] == 0
    assert outline_of(one, principal_axes(one))["radial_variation"] == 0


def test_a_mask_at_the_edge_touches_it_with_its_cut():
    square = np.zeros((40, 40), bool)
    square[10:20, :10] = True
    assert border_contact(square) == pytest.approx(10 / 40)
    assert border_contact(np.ones((8, 8), bool)) == 1


def test_a_large_picture_gives_the_same_figures_as_a_small_one():
    small, large = ellipse(major=80, minor=50), ellipse(size=1600, major=640, minor=400)
    a, b = measure(picture(small), small), measure(picture(large), large)
    for name in ("compactness", "asymmetry", "eccentricity", "area_fraction", "ita_deg"):
        assert a[name] == pytest.approx(b[name], abs=0.02), name
    for name in ("major_axis_px", "max_feret_px", "perimeter_px"):
        assert 8 * a[name] == pytest.approx(b[name], rel=0.02), name  # type: ignore[operator]
    assert b["area_px"] == large.sum()


def test_lab_of_known_colours():
    # D65 figures of sRGB red, white and mid grey.
    lab = to_lab(np.array([[255, 0, 0], [255, 255, 255], [119, 119, 119]], np.uint8))
    assert lab[0] == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    assert lab[1] == pytest.approx([100, 0, 0], abs=0.05)
    assert lab[2] == pytest.approx([50.03, 0, 0], abs=0.05)


def test_the_individual_typology_angle():
    assert individual_typology_angle([50, 5, 15]) == 0
    assert individual_typology_angle([65, 10, 15]) == pytest.approx(45)
    assert individual_typology_angle([30, 10, 20]) == pytest.approx(-45)


def test_colours_of_lesion_and_skin_and_their_difference():
    mask = ellipse()
    found = measure(picture(mask), mask)
    lesion, skin = to_lab(np.array([LESION, SKIN], np.uint8))
    for part, lab in (("lesion", lesion), ("skin", skin)):
        for channel, value in zip("lab", lab, strict=True):
            for figure in ("mean", "median"):
                assert found[f"{part}_{channel}_{figure}"] == pytest.approx(value, abs=0.01)
    assert found["delta_e"] == pytest.approx(colour_difference(lesion, skin), abs=0.01)
    assert found["ita_deg"] == pytest.approx(np.degrees(np.arctan((skin[0] - 50) / skin[2])))
    assert found["colour_variegation"] == pytest.approx(0, abs=1e-6)
    assert found["colours"] == 1
    assert found["share_dark_brown"] == 1


def test_each_of_the_six_colours_is_itself():
    shares = shares_of_colours(np.array([LESION_COLOURS["black"], LESION_COLOURS["red"]]))
    assert shares == {**dict.fromkeys(LESION_COLOURS, 0.0), "black": 0.5, "red": 0.5}
    assert sum(shares_of_colours(np.array([[60.0, -80.0, 60.0]])).values()) == 0


def test_two_halves_of_different_colour_are_two_colours_and_vary():
    mask = ellipse()
    image = picture(mask)
    image[:, :100][mask[:, :100]] = (30, 25, 24)
    found = measure(image, mask)
    assert found["colours"] == 2
    lab = to_lab(np.array([LESION, (30, 25, 24)], np.uint8))
    assert found["lesion_l_std"] == pytest.approx(abs(lab[0, 0] - lab[1, 0]) / 2, rel=0.02)


def test_hair_frames_and_shades_are_no_skin():
    mask = ellipse(size=200, major=40, minor=40)
    image = picture(mask)
    image[:, ::12] = 20  # hair
    v, u = np.mgrid[:200, :200] - 99.5
    image[np.hypot(u, v) > 58] = 5  # the black corners of a dermatoscope, cutting the ring
    image[mask] = LESION
    found = measure(image, mask)
    skin = to_lab(np.array([SKIN], np.uint8))[0]
    assert found["skin_l_median"] == pytest.approx(skin[0], abs=0.01)
    assert found["skin_b_mean"] == pytest.approx(skin[2], abs=0.01)


def test_the_ring_leaves_a_gap_and_the_border_of_the_picture():
    mask = ellipse()
    inside = np.zeros(mask.shape, bool)
    inside[2:-2, 2:-2] = True
    ring = skin_ring(mask, inside)
    v, u = np.nonzero(ring)
    away = np.hypot(v - 99.5, u - 99.5) - 60
    assert away.min() > 0.1 * 120 - 2
    assert away.max() < 0.35 * 120 + 2
    assert not ring[:2].any()


def test_without_skin_around_it_the_skin_is_not_known():
    mask = np.ones((60, 60), bool)
    found = measure(picture(mask), mask)
    assert found["lesion_l_mean"] is not None
    assert found["skin_l_mean"] is found["delta_e"] is found["ita_deg"] is None


def test_millimetres_where_the_scale_is_known_and_none_elsewhere():
    mask = ellipse(size=150, major=50, minor=50)
    scale = tile_mm_per_pixel("tile", 150)
    assert scale == 0.1
    found = measure(picture(mask), mask, scale)
    assert found["max_feret_mm"] == pytest.approx(10, rel=0.02)
    assert found["area_mm2"] == pytest.approx(np.pi * 25, rel=0.01)
    without = measure(picture(mask), mask)
    assert [n for n, v in without.items() if v is None] == [
        n for n in MEASUREMENTS if n.endswith(("_mm", "_mm2"))
    ]
    assert tile_mm_per_pixel("dermoscopy", 150) is None


def test_an_empty_mask_has_no_figures_and_a_wrong_size_is_refused():
    empty = np.zeros((30, 30), bool)
    assert measure(picture(empty), empty) == dict.fromkeys(MEASUREMENTS)
    with pytest.raises(LesionError, match="30, 31"):
        measure(picture(empty), np.zeros((30, 31), bool))


def test_the_page_defines_every_figure():
    text = PAGE.read_text(encoding="utf-8")
    for name in MEASUREMENTS:
        assert f"`{name}`" in text, name
    assert len(set(MEASUREMENTS)) == len(SHAPE) + len(COLOUR)
