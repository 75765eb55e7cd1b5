"""The pictures of a synthesis: what a transplant keeps, what it leaves alone, what checks say."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipelines.synthesis.checks import frechet_check, frechet_distance, nearest_neighbours
from pipelines.synthesis.skin import dilated, hole_of, remove_lesion, to_lab
from pipelines.synthesis.transplant import Lesion, Unfit, transplant

SKIN, OTHER_SKIN = (222, 178, 160), (205, 160, 138)
BROWN, NEVUS = (120, 70, 55), (150, 95, 70)


def _photo(skin, colour, *, shape=(90, 120), radius=18, centre=None, seed=0) -> Lesion:
    rng = np.random.default_rng(seed)
    height, width = shape
    y, x = np.mgrid[:height, :width]
    cy, cx = centre or (height / 2, width / 2)
    mask = np.hypot((y - cy) / 0.8, x - cx) < radius
    image = np.where(mask[..., None], colour, skin).astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), 1.2) + rng.normal(0, 3, (*shape, 3))
    return Lesion(np.clip(np.rint(image), 0, 255).astype(np.uint8), mask)


def _median(image, where):
    return np.median(to_lab(image)[where], axis=0)


def test_a_transplant_keeps_contrast_and_takes_the_recipients_skin():
    donor = _photo(SKIN, BROWN, seed=1)
    recipient = _photo(OTHER_SKIN, NEVUS, radius=12, seed=2)
    made = transplant(donor, recipient, np.random.default_rng(0))
    around = dilated(made.mask, 12) & ~dilated(made.mask, 3)
    contrast = _median(made.image, made.mask) - _median(made.image, around)
    before = _median(donor.image, donor.mask) - np.asarray(to_lab(np.uint8([[SKIN]]))[0, 0])
    assert np.linalg.norm(contrast - before) < 5
    skin = to_lab(np.uint8([[OTHER_SKIN]]))[0, 0]
    assert np.linalg.norm(_median(made.image, around) - skin) < 4
    assert made.image.shape == recipient.image.shape


def test_a_transplant_leaves_no_seam():
    donor = _photo(SKIN, BROWN, seed=1)
    recipient = _photo(OTHER_SKIN, NEVUS, radius=12, seed=2)
    made = transplant(donor, recipient, np.random.default_rng(0))
    away = cv2.distanceTransform((~made.mask).astype(np.uint8), cv2.DIST_L2, 5)
    rings = [made.image[(away > at) & (away <= at + 1)].mean() for at in range(4, 18)]
    # Averaged around the lesion a seam is a step; skin alone has none.
    assert np.abs(np.diff(rings)).max() < 1.0


def test_nothing_changes_far_from_both_lesions():
    recipient = _photo(OTHER_SKIN, NEVUS, radius=12, seed=2)
    made = transplant(_photo(SKIN, BROWN, seed=1), recipient, np.random.default_rng(4))
    far = ~dilated(made.mask, 14) & ~dilated(hole_of(recipient.mask), 2)
    assert far.any()
    np.testing.assert_array_equal(made.image[far], recipient.image[far])


def test_the_mask_covers_the_transplanted_lesion_exactly():
    recipient = _photo(OTHER_SKIN, NEVUS, radius=12, seed=2)
    made = transplant(_photo(SKIN, BROWN, seed=1), recipient, np.random.default_rng(5))
    lightness = cv2.GaussianBlur(to_lab(made.image)[..., 0], (0, 0), 1)
    dark = lightness < (np.median(lightness[made.mask]) + np.median(lightness[~made.mask])) / 2
    overlap = np.count_nonzero(dark & made.mask) * 2 / (dark.sum() + made.mask.sum())
    assert overlap > 0.93


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_lesion_keeps_its_relative_size_across_resolutions(factor):
    donor = _photo(SKIN, BROWN, seed=1)
    shape = (int(90 * factor), int(120 * factor))
    recipient = _photo(SKIN, NEVUS, shape=shape, radius=12 * factor, seed=2)
    for seed in range(20):
        try:
            made = transplant(donor, recipient, np.random.default_rng(seed))
        except Unfit:
            continue
        assert made.mask.mean() == pytest.approx(donor.mask.mean(), rel=0.3)
        return
    # Noise of single pixels cannot be matched over a change of scale: that is the reason then.
    with pytest.raises(Unfit, match="rougher"):
        transplant(donor, recipient, np.random.default_rng(0))


def test_removing_a_lesion_leaves_skin_of_the_same_tone_and_texture():
    photo = _photo(SKIN, BROWN, seed=3)
    clean = remove_lesion(photo.image, photo.mask, np.random.default_rng(0))
    hole = hole_of(photo.mask)
    skin = ~dilated(photo.mask, 8)
    assert np.linalg.norm(_median(clean, hole) - _median(clean, skin)) < 2
    noise = to_lab(clean)[..., 0]
    assert noise[hole].std() == pytest.approx(noise[skin].std(), rel=0.35)
    np.testing.assert_array_equal(clean[~hole], photo.image[~hole])


def test_unlike_skins_and_hairs_are_drawn_again():
    donor = _photo(SKIN, BROWN, seed=1)
    with pytest.raises(Unfit, match="differ too much"):
        transplant(donor, _photo((110, 75, 60), (60, 35, 30), radius=12), np.random.default_rng(0))
    hairy = donor.image.copy()
    for x in range(0, 120, 5):
        cv2.line(hairy, (x, 0), (x + 4, 89), (40, 30, 25), 1)
    with pytest.raises(Unfit, match="hairs") as why:
        transplant(
            Lesion(hairy, donor.mask), _photo(SKIN, NEVUS, radius=12), np.random.default_rng(0)
        )
    assert why.value.of_donor
    with pytest.raises(Unfit, match="does not fit"):
        transplant(
            _photo(SKIN, BROWN, radius=50), _photo(SKIN, NEVUS, radius=12), np.random.default_rng(0)
        )


def test_frechet_distance_is_that_of_two_gaussians():
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (200, 6)), rng.normal(0.5, 2, (150, 6))
    first, second = np.cov(a.T), np.cov(b.T)
    shift = np.square(a.mean(0) - b.mean(0)).sum()
    wanted = shift + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet_distance(a.astype(np.float32), b.astype(np.float32)) == pytest.approx(
        wanted, rel=1e-3
    )
    assert frechet_distance(a.astype(np.float32), a.astype(np.float32)) < 1e-6


def test_frechet_distance_is_given_beside_its_floor_and_refused_for_few_images():
    rng = np.random.default_rng(0)
    real = rng.normal(0, 1, (80, 8)).astype(np.float32)
    groups = np.arange(80) // 2
    like = frechet_check(rng.normal(0, 1, (60, 8)).astype(np.float32), real, groups, 0)
    unlike = frechet_check(rng.normal(3, 1, (60, 8)).astype(np.float32), real, groups, 0)
    assert like["images"] == 40
    assert like["distance"]["mean"] < 1.6 * like["floor"]["mean"]
    assert unlike["distance"]["mean"] > 10 * unlike["floor"]["mean"]
    assert "reason" in frechet_check(real[:5], real, groups, 0)


def test_copies_are_found_and_new_images_are_not_called_so():
    rng = np.random.default_rng(0)
    real = rng.normal(0, 1, (50, 8)).astype(np.float32)
    # Two pictures of one lesion are near each other without being a measure of likeness.
    real[1::2] = real[::2] + 0.01
    synthetic = rng.normal(0, 1, (10, 8)).astype(np.float32)
    synthetic[3] = real[7] + 1e-3
    near = nearest_neighbours(synthetic, real, np.arange(50) // 2, 5)
    assert near.copies[3] and near.nearest[3] in (6, 7)
    assert near.limit > 0.5 and near.copies.sum() <= 3
    assert not nearest_neighbours(synthetic, real, np.arange(50) // 2, 0).copies.any()


def test_checks_compare_by_the_encoder_of_a_given_classifier(tmp_path):
    import pandas as pd

    from clsstage.classifier import create_classifier
    from clsstage.masks import MaskTrust
    from clsstage.members import preprocessing
    from clsstage.metadata import MetadataEncoder
    from clsstage.targets import create_target
    from clsstage.view import View
    from lesioncore.errors import LesionError
    from pipelines.synthesis.features import FeatureNetwork
    from weights.card import WeightCard
    from weights.store import save_weights

    def saved(folder, in_channels):
        network = create_classifier(
            "none", encoder="test_resnet.r160_in1k", in_channels=in_channels
        )
        planes = (0.5,) * in_channels
        focus = "full" if in_channels == 3 else "full+mask_channel"
        values = preprocessing(
            View(focus, 0.3, 1.0, 32, planes, planes),
            MetadataEncoder.fit(pd.DataFrame({"image_id": ["a"]}), "none"),
            MaskTrust(), create_target("binary", "cancer"), (0.0,), "cancer",
        )  # fmt: skip
        card = WeightCard(
            name="tiny", kind="classifier", architecture=network.architecture, preprocessing=values
        )
        save_weights(folder, network.state_dict(), card)
        return network.encoder.eval()

    encoder = saved(tmp_path / "plain", 3)
    features = FeatureNetwork(str(tmp_path / "plain"), "cpu")
    photo = _photo(SKIN, BROWN).image
    rows = features.of(["a", "b"], lambda _name: photo, 0)
    assert rows.shape == (2, encoder.num_features) and features.name == "classifier tiny"
    np.testing.assert_allclose(rows[0], rows[1], rtol=1e-5)
    saved(tmp_path / "masked", 4)
    with pytest.raises(LesionError, match="looks at a mask"):
        FeatureNetwork(str(tmp_path / "masked"), "cpu")
