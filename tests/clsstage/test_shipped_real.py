"""The classifier that ships: its card is whole, and it holds on images of the committed list."""

from __future__ import annotations

import pytest

from clsstage.members import read_members
from clsstage.predictor import LesionClassifier
from lesioncore.cache import MaskEntry
from lesioncore.calibration import read_calibration
from lesioncore.diagnoses import labels
from lesioncore.holdout import test_ids as held_back
from lesioncore.images import image_sha256, read_image, read_mask
from lesioncore.metrics import roc_auc
from lesioncore.readers import create_reader
from weights.resolve import SHIPPED, shipped_names
from weights.store import read_card

NAME = "lesion-classifier"

pytestmark = pytest.mark.skipif(
    NAME not in shipped_names(), reason="no classifier ships with this installation"
)


def test_its_card_says_data_licence_scores_by_subgroup_and_limits() -> None:
    card = read_card(SHIPPED / NAME)
    assert card.kind == "classifier"
    assert "HAM10000" in card.training_data and "test lists" in card.training_data
    assert "NC" in card.licence and "diagnosis" in card.limits
    scores = card.metrics["test ham10000, with age, sex, site"]
    assert scores["policy"] == "cancer+ak"
    assert {"Sex: female", "Sex: male", "Site: head/neck"} <= set(scores["subgroups"])
    assert (SHIPPED / NAME / "weights.safetensors").stat().st_size <= 12_000_000
    assert read_calibration(SHIPPED / NAME / "calibration.json").fitted_on.policy == "cancer+ak"


def test_it_serves_with_and_without_metadata_and_averages_views() -> None:
    (member,) = read_members(NAME)[1]
    assert member.encoder.columns == ("age", "sex", "site")
    assert member.card.preprocessing["tta"] == "d4"


@pytest.mark.real_data
def test_it_ranks_held_back_images(real_data) -> None:
    rows = create_reader("ham10000", real_data / "ham10000_200x150").read()
    rows = rows[rows["image_id"].isin(held_back(rows, "ham10000"))].iloc[::6]
    classifier = LesionClassifier.load(NAME, device="cpu")
    said = []
    for row in rows.itertuples():
        mask = MaskEntry.from_mask(
            image_id=row.image_id, image_sha256=image_sha256(row.image), mask=read_mask(row.mask),
            member="truth", in_sample=False,
        )  # fmt: skip
        found = classifier.predict(
            read_image(row.image), mask, age=row.age, sex=row.sex, site=row.site
        )
        said.append(found.malignant)
    assert len(said) > 100
    assert roc_auc(labels(rows, "cancer+ak"), said) > 0.85
