"""Explanations are right where the right answer is known: networks made of a line or two."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from clsstage.classifier import create_classifier
from clsstage.explanations import (
    NeighbourIndex,
    attribution,
    deletion,
    evidence,
    evidence_methods,
    inside,
    metadata_attributions,
)
from clsstage.explanations.attribution import EXACT
from clsstage.explanations.rollout import attention_rollout
from clsstage.features import features
from clsstage.features_config import FeaturesConfig
from clsstage.members import read_members
from clsstage.metadata import MetadataEncoder
from clsstage.targets import create_target
from lesioncore.errors import LesionError, UsageError
from lesioncore.images import read_image
from tests.clsstage.conftest import of_run

SIDE = 32
NO_METADATA = MetadataEncoder()


class Toy(nn.Module):
    """The redder a place, the more malignant; every number of the metadata adds to it."""

    def __init__(self, code=lambda metadata: metadata.sum(1)) -> None:
        super().__init__()
        self.encoder = SimpleNamespace(num_features=3, feature_info=None)
        self.code = code
        self.architecture = {"encoder": "toy"}

    def maps(self, image):
        return F.avg_pool2d(image[:, :3], 4)

    def fuse(self, maps, image, metadata):
        return torch.stack([maps.mean((2, 3))[:, 0], self.code(metadata)], 1)

    def classify(self, features):
        return 40 * features[:, :1] + features[:, 1:2]


def member_of(network, encoder=NO_METADATA):
    """Return what explanations look at of a member."""

    def outputs(images, metadata, views=None):
        return network.classify(network.fuse(network.maps(images), images, metadata))

    return SimpleNamespace(
        network=network, encoder=encoder, target=create_target("binary", "cancer"), offset=(0.0,),
        outputs=outputs,
    )  # fmt: skip


def red_corner() -> torch.Tensor:
    image = torch.zeros(1, 3, SIDE, SIDE)
    image[:, 1] = 1.0
    image[:, 0, :12, :12] = 1.0
    return image


def test_grad_cam_finds_the_place_that_the_answer_rests_on() -> None:
    heat = evidence(member_of(Toy()), red_corner(), torch.zeros(1, 0))[0]
    assert heat.shape == (SIDE, SIDE)
    assert heat.max() == 1
    assert heat[:10, :10].min() > 0.9
    assert heat[16:, 16:].max() < 0.01


def test_views_are_turned_back_before_they_are_averaged() -> None:
    member, image = member_of(Toy()), red_corner()
    one, four = (evidence(member, image, torch.zeros(1, 0), views=n)[0] for n in (1, 4))
    assert torch.allclose(one, four, atol=1e-4)


def test_no_evidence_is_nowhere() -> None:
    assert evidence(member_of(Toy()), torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1, 0)).max() == 0


def test_deleting_what_counts_first_lowers_the_answer_sooner_than_chance() -> None:
    member, image = member_of(Toy()), red_corner()
    heat = evidence(member, image, torch.zeros(1, 0))[0]
    right, wrong = (
        deletion(member, image, torch.zeros(1, 0), one) for one in (heat, heat.flip((0, 1)))
    )
    assert right.gain > 0 > wrong.gain - right.gain
    assert right.removed[0] == 0 and right.removed[-1] == 1
    assert right.by_evidence[0] == right.by_chance[0]
    assert right.by_evidence[-1] == pytest.approx(right.by_chance[-1], abs=1e-5)


def test_the_mask_plane_is_not_deleted() -> None:
    network = Toy()
    seen = []
    network.maps = lambda image: seen.append(image[:, 3].clone()) or F.avg_pool2d(image[:, :3], 4)
    image = torch.cat([red_corner(), torch.ones(1, 1, SIDE, SIDE)], 1)
    deletion(member_of(network), image, torch.zeros(1, 0), torch.rand(SIDE, SIDE))
    assert all((one == 1).all() for one in seen)


def test_evidence_inside_is_compared_with_the_area() -> None:
    heat, mask = np.zeros((4, 4)), np.zeros((4, 4))
    mask[:2] = 1
    heat[1, 1], heat[3, 3] = 3.0, 1.0
    found = inside(heat, mask)
    assert (found.evidence, found.area) == (0.75, 0.5)
    assert np.isnan(inside(np.zeros((4, 4)), mask).evidence)


def rows_of(count: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({f"tbp_lv_{k}": rng.normal(size=40) for k in range(count)})


def test_effects_of_an_additive_network_are_its_terms() -> None:
    frame = rows_of(3)
    encoder = MetadataEncoder.fit(frame, list(frame.columns))
    # Each field is (z, missing): the z-scores alone add to the answer.
    member = member_of(Toy(lambda code: code[:, 0::2].sum(1)), encoder)
    row = {"tbp_lv_0": 2.0, "tbp_lv_2": -1.0}
    found = metadata_attributions(member, red_corner(), row)
    code = encoder.transform_row(row)
    assert found["tbp_lv_0"] == pytest.approx(code[0], abs=1e-4)
    assert found["tbp_lv_2"] == pytest.approx(code[4], abs=1e-4)
    assert set(found) == {"tbp_lv_0", "tbp_lv_2"}
    assert metadata_attributions(member, red_corner(), {}) == {}


@pytest.mark.parametrize("count", [3, EXACT + 2])
def test_effects_add_up_to_what_all_metadata_changed(count) -> None:
    frame = rows_of(count)
    encoder = MetadataEncoder.fit(frame, list(frame.columns))
    member = member_of(Toy(lambda code: code[:, 0::2].prod(1) + code[:, 0::2].sum(1)), encoder)
    row = frame.iloc[5].to_dict()
    found = metadata_attributions(member, red_corner(), row)
    known, nothing = (
        member.outputs(red_corner(), torch.from_numpy(encoder.transform_row(values))[None])
        for values in (row, {})
    )
    assert sum(found.values()) == pytest.approx(float(known - nothing), abs=1e-3)


def test_drawn_orders_come_near_to_every_subset(monkeypatch) -> None:
    frame = rows_of(5)
    encoder = MetadataEncoder.fit(frame, list(frame.columns))
    pairs = torch.triu(torch.ones(5, 5), 1)

    def code(metadata):
        z = metadata[:, 0::2]
        return torch.einsum("bi,ij,bj->b", z, pairs, z)

    member, row = member_of(Toy(code), encoder), frame.iloc[7].to_dict()
    exact = metadata_attributions(member, red_corner(), row)
    monkeypatch.setattr(attribution, "EXACT", 2)
    drawn = metadata_attributions(member, red_corner(), row)
    # With pairs alone an order and its reverse undo each other's noise wholly.
    assert drawn == pytest.approx(exact, abs=1e-3)


@pytest.fixture(scope="module")
def transformer():
    network = create_classifier("none", encoder="test_vit", image_size=64).eval()
    return member_of(network)


def test_rollout_follows_attention_and_leaves_the_network_as_it_was(transformer) -> None:
    torch.manual_seed(0)
    images, encoder = torch.randn(2, 3, 64, 64), transformer.network.encoder
    before = [block.attn.fused_attn for block in encoder.blocks]
    with torch.inference_mode():
        answer = transformer.network(images, torch.zeros(2, 0))
    found = attention_rollout(transformer, images, torch.zeros(2, 0))
    assert found.shape == (2, 4, 4)
    assert (found >= 0).all() and (found.sum((1, 2)) <= 1 + 1e-5).all()
    assert [block.attn.fused_attn for block in encoder.blocks] == before
    assert not any(block.attn.attn_drop._forward_hooks for block in encoder.blocks)
    with torch.inference_mode():
        assert torch.allclose(transformer.network(images, torch.zeros(2, 0)), answer, atol=1e-5)


def test_methods_are_those_of_the_encoder(transformer) -> None:
    assert evidence_methods(transformer) == ("grad_cam", "rollout")
    network = create_classifier("none", encoder="test_resnet").eval()
    with pytest.raises(UsageError, match="rollout"):
        evidence(member_of(network), torch.zeros(1, 3, 32, 32), torch.zeros(1, 0), "rollout")


@pytest.mark.parametrize("encoder", ["test_vit", "test_resnet", "test_efficientnet"])
def test_grad_cam_of_kinds_of_encoders(encoder) -> None:
    torch.manual_seed(0)
    network = create_classifier("none", encoder=encoder, image_size=64).eval()
    network.requires_grad_(False)
    heat = evidence(member_of(network), torch.randn(2, 3, 64, 64), torch.zeros(2, 0))
    assert heat.shape == (2, 64, 64) and torch.isfinite(heat).all()
    assert all(p.grad is None for p in network.parameters())


def test_an_image_is_nearest_to_itself(two_folds, manifest, tmp_path) -> None:
    path = tmp_path / "f.h5"
    assert features(FeaturesConfig(**of_run(two_folds, path) | {"dtype": "float32"})) == 0
    from lesioncore.cache import MaskCache

    cache, members = MaskCache(two_folds.masks), read_members(two_folds.out)[1]
    for member in members:
        index = NeighbourIndex(path, member)
        row = manifest.iloc[5]
        image = member.view.see(read_image(row["image"]), cache.read(row["image_id"]))
        code = member.encoder.transform(manifest.iloc[[5]])
        seen = torch.from_numpy(image)[None], torch.from_numpy(code)
        first, second = index.nearest(*seen, count=2)
        assert first.image_id == row["image_id"]
        assert first.similarity == pytest.approx(1, abs=1e-4) and second.similarity < 1
        assert index.nearest(*seen, count=1, without={row["image_id"]})[0] == second


def test_features_of_another_network_are_refused(two_folds, archive, tmp_path) -> None:
    path = tmp_path / "f.h5"
    config = FeaturesConfig(
        dataset="phantom", root=archive, encoder="test_resnet", encoder_weights="none",
        focus="full", size=32, out=path, workers=0, device="cpu",
    )  # fmt: skip
    assert features(config) == 0
    with pytest.raises(LesionError, match="not made by this classifier"):
        NeighbourIndex(path, read_members(two_folds.out)[1][0])
