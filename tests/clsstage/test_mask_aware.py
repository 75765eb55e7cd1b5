"""What masks are used for beside focus: pooling, an auxiliary decoder, and errors on purpose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from clsstage.classifier import create_classifier
from clsstage.mask_decoder import MaskDecoder, mask_levels, mask_loss
from clsstage.mask_jitter import jitter_mask
from clsstage.mask_pool import places_last, pool_under
from clsstage.members import read_member
from clsstage.predictor import LesionClassifier
from clsstage.train import train
from lesioncore.errors import LesionError
from weights.store import load_weights

from .conftest import tiny


def test_pooling_under_a_mask_is_the_mean_of_its_places():
    maps = torch.arange(16.0).reshape(1, 1, 4, 4).repeat(1, 3, 1, 1)
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4, :2] = 1.0  # places (0, 0) and (1, 0) of the maps
    assert torch.allclose(pool_under(maps, mask, 3), torch.full((1, 3), 2.0))
    nothing = torch.zeros_like(mask)
    assert torch.allclose(pool_under(maps, nothing, 3), maps.mean((2, 3)))
    last = maps.permute(0, 2, 3, 1)
    assert torch.equal(places_last(last, 3), maps)
    tokens = torch.cat([torch.full((1, 1, 3), 99.0), last.flatten(1, 2)], 1)
    assert torch.equal(places_last(tokens, 3, prefix=1), maps)
    with pytest.raises(LesionError, match="no square"):
        places_last(tokens, 3)


@pytest.mark.parametrize("encoder", ["test_resnet", "test_vit", "test_efficientnet"])
def test_the_mask_moves_a_pooling_classifier_and_no_other(encoder):
    torch.manual_seed(0)
    network = create_classifier(encoder=encoder, image_size=160, mask_pool=True).eval()
    assert network.planes == 4
    image = torch.randn(1, 4, 160, 160)
    other = image.clone()
    other[:, 3, :80] *= -1
    with torch.no_grad():
        assert not torch.allclose(
            network(image, torch.zeros(1, 0)), network(other, torch.zeros(1, 0))
        )
        plain = create_classifier(encoder=encoder, image_size=160).eval()
        assert torch.equal(plain(image, torch.zeros(1, 0)), plain(other, torch.zeros(1, 0)))


@pytest.mark.parametrize("encoder", ["test_resnet", "test_vit", "test_efficientnet"])
def test_the_decoder_reads_maps_of_a_quarter_and_less_and_can_learn(encoder):
    torch.manual_seed(0)
    network = create_classifier(encoder=encoder, image_size=160)
    levels, channels = mask_levels(network.encoder, 160, 3)
    decoder = MaskDecoder(channels)
    image = torch.randn(4, 3, 160, 160)
    logits, maps = network.with_levels(image, torch.zeros(4, 0), levels)
    assert logits.shape == (4, 1)
    assert maps[0].shape[-1] <= 40
    mask = torch.zeros(4, 1, 160, 160)
    mask[..., 40:120, 40:120] = 1
    loss = mask_loss(decoder(maps), mask, torch.tensor([True, True, False, False]))
    loss.backward()
    assert any(
        p.grad is not None and bool(p.grad.abs().sum()) for p in network.encoder.parameters()
    )
    unknown = mask_loss(decoder(maps), mask, torch.zeros(4, dtype=torch.bool))
    assert float(unknown.detach()) == 0


def test_the_logits_are_the_same_with_and_without_the_levels():
    network = create_classifier(encoder="test_efficientnet").eval()
    image = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        levels, _ = mask_levels(network.encoder, 96, 3)
        found, _ = network.with_levels(image, torch.zeros(2, 0), levels)
        assert torch.allclose(found, network(image, torch.zeros(2, 0)), atol=1e-5)


def test_errors_of_masks_are_of_all_kinds_and_repeat_with_the_seed(cache):
    mask = cache.read(cache.table()["image_id"].iloc[0])
    made = [jitter_mask(mask, np.random.default_rng(seed)) for seed in range(60)]
    again = [jitter_mask(mask, np.random.default_rng(seed)) for seed in range(60)]
    areas = np.array([m.area for m in made if m is not None]) / mask.area
    assert 2 <= sum(m is None for m in made) <= 20
    assert areas.min() < 0.95
    assert areas.max() > 1.05
    assert areas.min() > 0.5
    assert len({m.box for m in made if m is not None}) > 20
    assert [m and m.box for m in made] == [m and m.box for m in again]


def test_an_auxiliary_decoder_is_dropped_and_full_images_then_need_no_masks(
    archive, masks, tmp_path
):
    config = tiny(archive, tmp_path / "cls", masks=masks, focus="full", aux_mask=0.4)
    train(config)
    state, card = load_weights(config.out / "member-0", kind="classifier")
    assert not [key for key in state if "decoder" in key]
    assert not read_member(config.out / "member-0").view.needs_mask
    assert set(pd.read_csv(config.out / "oof.csv")["mask_status"]) == {"ok"}
    assert "train_mask_loss" in (config.out / "member-0" / "metrics.csv").read_text()
    assert card.architecture["in_channels"] == 3


def test_mask_pooling_trains_and_predicts_with_and_without_a_mask(
    archive, masks, manifest, cache, tmp_path
):
    config = tiny(archive, tmp_path / "cls", masks=masks, mask_pool=True)
    train(config)
    classifier = LesionClassifier.load(config.out, device="cpu")
    table = classifier.predict_table(manifest, cache, workers=0)
    assert set(table["mask_status"]) == {"ok"}
    without = classifier.predict_table(manifest, workers=0)
    assert set(without["focus"]) == {"full"}
    assert without["malignant"].notna().all()


@pytest.mark.parametrize(
    "changes", [{"focus": "full", "aux_mask": 0.4}, {"focus": "full", "mask_pool": True}]
)
def test_masks_that_are_needed_and_not_given_are_asked_for(archive, tmp_path, changes):
    with pytest.raises(LesionError, match="needs masks and none were given"):
        train(tiny(archive, tmp_path / "cls", **changes))
    assert not (tmp_path / "cls").exists()


def test_a_view_with_the_mask_as_a_plane_hands_it_on(cache, manifest):
    from clsstage.view import View
    from lesioncore.images import read_image

    row = manifest.iloc[0]
    image, mask = read_image(row["image"]), cache.read(row["image_id"])
    plain = View("dilated_crop", 0.3, 0.7, 32, (0.5,) * 3, (0.5,) * 3)
    planed = replace(plain, mask_plane=True)
    seen, more = plain.see(image, mask), planed.see(image, mask)
    assert seen.shape == (3, 32, 32)
    assert np.array_equal(more[:3], seen)
    assert more[3].max() == 1.0
    assert more[3].min() == -1.0
    assert (planed.see(image, None)[3] == -1.0).all()
