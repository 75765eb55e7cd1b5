"""The segmenter that ships, on images of the committed test lists."""

from __future__ import annotations

import numpy as np
import pytest

from lesioncore.holdout import test_ids as held_back
from lesioncore.images import read_image, read_mask
from lesioncore.metrics import mask_scores
from lesioncore.readers import create_reader
from segstage.predictor import LesionSegmenter
from weights.resolve import SHIPPED, shipped_names
from weights.store import read_card

NAME = "lesion-unet"

pytestmark = pytest.mark.skipif(
    not shipped_names(), reason="no weights ship with this installation"
)


def test_its_card_says_data_licence_scores_and_limits() -> None:
    card = read_card(SHIPPED / NAME)
    assert "HAM10000" in card.training_data and "ISIC 2018" in card.training_data
    assert "NC" in card.licence and "not for commercial use" in card.licence
    assert {"validation", "test isic-task1", "test ham10000"} <= set(card.metrics)
    assert "diagnosis" in card.limits
    assert (SHIPPED / NAME / "weights.safetensors").stat().st_size <= 15_000_000
    assert (SHIPPED / NAME / "quality.json").is_file()


@pytest.mark.parametrize("name", shipped_names())
def test_it_learned_from_no_image_of_a_test_list(name: str) -> None:
    from lesioncore.holdout import committed_ids
    from weights.learned import read_learned

    learned = set(read_learned(SHIPPED / name)["image_id"])
    assert len(learned) > 5000
    assert not learned & (committed_ids("isic2018_task1") | committed_ids("ham10000"))


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("dataset", "folder", "least"),
    [("isic-task1", "isic2018_task1_512", 0.8), ("ham10000", "ham10000_200x150", 0.84)],
)
def test_its_masks_fit_held_back_images(real_data, dataset: str, folder: str, least: float) -> None:
    rows = create_reader(dataset, real_data / folder).read()
    rows = rows[rows["image_id"].isin(held_back(rows, dataset))].iloc[::16]
    segmenter = LesionSegmenter.load(device="cpu")
    overlaps, qualities = [], []
    for row in rows.itertuples():
        image = read_image(row.image)
        entry = segmenter.predict(image, row.image_id)
        overlaps.append(mask_scores(entry.mask(), read_mask(row.mask, entry.shape))["jaccard"])
        qualities.append(entry.quality)
        assert not segmenter.provenance.assign(row.image_id).in_sample
    assert np.mean(overlaps) > least
    assert all(quality is not None for quality in qualities)
