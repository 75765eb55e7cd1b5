"""One base test for every classifier family and kind of backbone."""

from __future__ import annotations

import pytest
import torch

from clsstage.models import classifier_lines, classifier_names, create_classifier
from clsstage.models.fusion import MetadataMLP, MultiSampleDropoutHead
from clsstage.models.pretrained import load_pretrained
from lesioncore.errors import LesionError, UsageError

CASES = [
    (name, backbone, width, channels)
    for name in classifier_names()
    for backbone in ("test_resnet", "test_vit", "test_efficientnet")
    for width, channels in ((0, 3), (7, 3), (7, 4))
]


@pytest.mark.parametrize(("name", "backbone", "width", "channels"), CASES)
def test_every_classifier(name, backbone, width, channels):
    torch.manual_seed(0)
    options = {
        "backbone": backbone,
        "metadata_width": width,
        "in_channels": channels,
        "image_size": 96,
    }
    network = create_classifier(name, **options)
    image, metadata = torch.randn(3, channels, 96, 96), torch.randn(3, width)
    assert len(network.mean) == len(network.std) == channels

    logits = network(image, metadata)
    assert logits.shape == (3,)
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


def test_metadata_moves_the_logit():
    network = create_classifier("late_fusion", backbone="test_resnet", metadata_width=4).eval()
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert network(image, torch.zeros(1, 4)) != network(image, torch.ones(1, 4))


def test_the_fusion_is_the_winners():
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
    assert torch.equal(head(features), head.linear(features)[:, 0])


def test_unknown_names_list_the_known():
    with pytest.raises(UsageError, match="late_fusion"):
        create_classifier("latefusion")
    with pytest.raises(UsageError, match="did you mean 'resnet18'"):
        create_classifier("late_fusion", backbone="resnet81")


def test_every_family_says_what_it_is():
    assert all(line and "Parameters" not in line for line in classifier_lines().values())


def test_a_mask_channel_starts_blind(tmp_path):
    from safetensors.torch import save_file

    donor = create_classifier("late_fusion", backbone="test_resnet").eval()
    file = tmp_path / "imagenet.safetensors"
    save_file({k: v.contiguous() for k, v in donor.backbone.state_dict().items()}, str(file))
    network = create_classifier("late_fusion", backbone="test_resnet", in_channels=4).eval()
    load_pretrained(network, str(file))
    image = torch.randn(2, 4, 32, 32)
    with torch.no_grad():
        seen = network.backbone(image)
        assert torch.allclose(seen, donor.backbone(image[:, :3]), atol=1e-5)


def test_weights_of_another_network_are_refused(tmp_path):
    from safetensors.torch import save_file

    file = tmp_path / "other.safetensors"
    save_file({"conv.weight": torch.zeros(3)}, str(file))
    with pytest.raises(LesionError, match=r"other\.safetensors"):
        load_pretrained(create_classifier("late_fusion", backbone="test_resnet"), str(file))
