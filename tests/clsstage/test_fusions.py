"""One base test for every fusion on every layout of feature maps."""

from __future__ import annotations

import pytest
import torch

from clsstage.fusion import Widths, fusion_class, fusion_names
from clsstage.fusion._maps import as_tokens, channel_axis, over_places
from lesioncore.errors import LesionError

CHANNELS, PLACES, METADATA, OUTPUTS = 24, 5, 9, 3
SHAPES = {
    "maps": (4, CHANNELS, PLACES, PLACES),
    "maps, channels last": (4, PLACES, PLACES, CHANNELS),
    "tokens": (4, PLACES**2, CHANNELS),
}


def pool(maps: torch.Tensor) -> torch.Tensor:
    """Mean and maximum: wider than the maps, as where features are pooled under a mask too."""
    tokens = as_tokens(maps, CHANNELS)
    return torch.cat([tokens.mean(1), tokens.amax(1)], dim=1)


def made(name: str, outputs: int = OUTPUTS):
    torch.manual_seed(0)
    return fusion_class(name)(Widths(CHANNELS, 2 * CHANNELS, METADATA, outputs), 0.5)


@pytest.mark.parametrize("layout", SHAPES)
@pytest.mark.parametrize("name", fusion_names())
def test_every_fusion(name, layout):
    fusion = made(name)
    maps = torch.randn(SHAPES[layout], requires_grad=True)
    metadata = torch.randn(4, METADATA, requires_grad=True)
    logits = fusion.classify(fusion.features(maps, pool, metadata))
    assert logits.shape == (4, OUTPUTS)
    logits.square().sum().backward()
    assert maps.grad.abs().amax(tuple(range(1, maps.ndim))).gt(0).all()
    if name == "none":
        assert metadata.grad is None
    else:
        assert metadata.grad.abs().gt(0).all()
    assert all(p.grad is not None for p in fusion.parameters())

    fusion.eval()
    with torch.no_grad():
        before = fusion.classify(fusion.features(maps, pool, metadata))
        other = fusion.classify(fusion.features(maps, pool, metadata + 1.0))
        assert torch.equal(before, other) == (name == "none")
        again = made(name)
        again.load_state_dict(fusion.state_dict())
        assert torch.equal(again.eval().classify(again.features(maps, pool, metadata)), before)
        # All missing: every value 0.
        missing = fusion.classify(fusion.features(maps, pool, torch.zeros(4, METADATA)))
        assert torch.isfinite(missing).all()


@pytest.mark.parametrize("name", fusion_names())
def test_every_layout_gives_the_same_logits(name):
    fusion = made(name).eval()
    maps, metadata = torch.randn(SHAPES["maps"]), torch.randn(4, METADATA)
    seen = [maps, maps.permute(0, 2, 3, 1), maps.flatten(2).transpose(1, 2)]
    with torch.no_grad():
        logits = [fusion.classify(fusion.features(each, pool, metadata)) for each in seen]
    assert torch.allclose(logits[0], logits[1], atol=1e-5)
    assert torch.allclose(logits[0], logits[2], atol=1e-5)


@pytest.mark.parametrize("name", fusion_names())
def test_the_bias_sets_the_first_logits(name):
    fusion = made(name).eval()
    maps, metadata = torch.randn(SHAPES["maps"]), torch.randn(4, METADATA)
    wanted = torch.tensor([-3.0, 0.5, 2.0])
    with torch.no_grad():
        fusion.set_bias(torch.zeros(OUTPUTS))
        zero = fusion.classify(fusion.features(maps, pool, metadata))
        fusion.set_bias(wanted)
        assert torch.allclose(
            fusion.classify(fusion.features(maps, pool, metadata)) - zero,
            wanted.expand(4, -1),
            atol=1e-5,
        )


def test_metablock_is_the_published_formula():
    fusion = made("metablock").eval()
    maps, metadata = torch.randn(SHAPES["maps"]), torch.randn(4, METADATA)
    scale, shift = fusion.scale(metadata), fusion.shift(metadata)
    published = torch.sigmoid(torch.tanh(maps.flatten(2) * scale[:, :, None]) + shift[:, :, None])
    with torch.no_grad():
        found = fusion.features(maps, lambda changed: changed.flatten(2), metadata)
    assert torch.allclose(found, published, atol=1e-6)


def test_film_starts_near_the_image_alone():
    fusion = made("film").eval()
    maps = torch.randn(SHAPES["maps"])
    with torch.no_grad():
        changed = fusion.features(maps, lambda changed: changed, torch.randn(4, METADATA))
    assert 0 < (changed - maps).abs().mean() < 0.1


def test_late_is_the_mean_of_two_classifiers():
    fusion = made("late", outputs=1).eval()
    image, metadata = torch.randn(4, 2 * CHANNELS), torch.randn(4, METADATA)
    with torch.no_grad():
        features = fusion.features(image, lambda maps: maps, metadata)
        alone = fusion.image_head(image), fusion.metadata_head(fusion.mlp(metadata))
        assert torch.allclose(fusion.classify(features), (alone[0] + alone[1]) / 2, atol=1e-6)


def test_the_encoders_channels_tell_the_layout():
    assert channel_axis(torch.zeros(2, 8, 3, 3), 8) == 1
    assert channel_axis(torch.zeros(2, 3, 3, 8), 8) == 3
    assert channel_axis(torch.zeros(2, 8, 8, 8), 8) == 1
    assert channel_axis(torch.zeros(2, 8, 8), 8) == 2
    assert over_places(torch.zeros(2, 8), torch.zeros(2, 3, 3, 8), 8).shape == (2, 1, 1, 8)
    with pytest.raises(LesionError, match="wanted: 8 channels"):
        channel_axis(torch.zeros(2, 7, 3, 3), 8)
    with pytest.raises(LesionError, match="wanted: 8 channels"):
        as_tokens(torch.zeros(2, 8, 7), 8)
