"""One base test for every fusion on every kind of encoder."""

from __future__ import annotations

import pytest
import torch

from clsstage.classifier import create_classifier, load_pretrained
from clsstage.fusion import fusion_class, fusion_names
from clsstage.fusion._registry import MultiSampleDropoutHead
from clsstage.fusion.concat import MetadataMLP
from lesioncore.errors import LesionError, UsageError

CASES = [
    (fusion, encoder, width, channels)
    for fusion in fusion_names()
    for encoder in ("test_resnet", "test_vit", "test_efficientnet")
    for width, channels in ((0, 3), (7, 3), (7, 4))
]


@pytest.mark.parametrize(("fusion", "encoder", "width", "channels"), CASES)
def test_every_fusion(fusion, encoder, width, channels):
    torch.manual_seed(0)
    network = create_classifier(
        fusion, encoder=encoder, metadata_width=width, in_channels=channels, image_size=96
    )
    image, metadata = torch.randn(3, channels, 96, 96), torch.randn(3, width)
    assert len(network.mean) == len(network.std) == channels

    logits = network(image, metadata)
    assert logits.shape == (3, 1)
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)

    network.eval()
    with torch.no_grad():
        one_by_one = [network(image[i : i + 1], metadata[i : i + 1]) for i in range(3)]
        together = network(image, metadata)
        assert torch.allclose(together, torch.cat(one_by_one), atol=1e-4)
        assert torch.equal(network.classify(network.features(image, metadata)), together)
        again = create_classifier(**network.architecture).eval()
        again.load_state_dict(network.state_dict())
        assert torch.equal(again(image, metadata), together)
        network.fusion.set_bias(torch.zeros(1))
        low = network(image, metadata)
        network.fusion.set_bias(torch.full((1,), 3.0))
        assert torch.allclose(network(image, metadata), low + 3.0, atol=1e-4)


@pytest.mark.parametrize("fusion", fusion_names())
def test_metadata_moves_the_logit(fusion):
    network = create_classifier(fusion, encoder="test_resnet", metadata_width=4).eval()
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        same = network(image, torch.zeros(1, 4)) == network(image, torch.ones(1, 4))
    assert bool(same) == (fusion == "none")


def test_without_metadata_every_fusion_is_none():
    assert create_classifier("concat", encoder="test_resnet").architecture["fusion"] == "none"


def test_concat_is_the_winners():
    mlp = MetadataMLP(14)
    kinds = [type(layer).__name__ for layer in mlp]
    assert kinds == ["Linear", "BatchNorm1d", "SiLU", "Dropout", "Linear", "BatchNorm1d", "SiLU"]
    assert mlp[0].out_features == 512
    assert mlp.out_width == 128
    assert mlp[3].p == 0.3


def test_multi_sample_dropout_averages_draws_in_training_only():
    torch.manual_seed(0)
    head = MultiSampleDropoutHead(64)
    features = torch.randn(2, 64)
    assert not torch.equal(head(features), head(features))
    head.eval()
    assert torch.equal(head(features), head.linear(features))


def test_unknown_names_list_the_known():
    with pytest.raises(UsageError, match="concat, cross_attention, film"):
        create_classifier("concatenate")
    with pytest.raises(UsageError, match="did you mean 'resnet18'"):
        create_classifier("concat", encoder="resnet81")


def test_every_fusion_says_what_it_is():
    assert all(fusion_class(name).summary for name in fusion_names())


def test_a_mask_channel_starts_blind(tmp_path):
    from safetensors.torch import save_file

    donor = create_classifier(encoder="test_resnet").eval()
    file = tmp_path / "imagenet.safetensors"
    save_file({k: v.contiguous() for k, v in donor.encoder.state_dict().items()}, str(file))
    network = create_classifier(encoder="test_resnet", in_channels=4).eval()
    load_pretrained(network, str(file))
    image = torch.randn(2, 4, 32, 32)
    with torch.no_grad():
        seen = network.encoder(image)
        assert torch.allclose(seen, donor.encoder(image[:, :3]), atol=1e-5)


def test_weights_of_another_network_are_refused(tmp_path):
    from safetensors.torch import save_file

    file = tmp_path / "other.safetensors"
    save_file({"conv.weight": torch.zeros(3)}, str(file))
    with pytest.raises(LesionError, match=r"other\.safetensors"):
        load_pretrained(create_classifier(encoder="test_resnet"), str(file))
