"""One test for every encoder preset, at its own size; AlexNet's adapter; rates of layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from clsstage.classifier import create_classifier, load_pretrained
from clsstage.encoders import (
    create_encoder,
    encoder_preset,
    encoder_presets,
    encoder_record,
    encoder_size,
    load_encoder,
    rate_groups,
)
from clsstage.fusion import fusion_names
from lesioncore.errors import LesionError, UsageError
from weights.card import WeightCard
from weights.store import fill_network, load_weights, save_weights

# A few seconds each on a busy core; the others are slow.
QUICK = {
    "alexnet",
    "convnextv2_nano",
    "edgenext_base",
    "tf_efficientnet_b0",
    "tf_efficientnet_b1",
    "tf_efficientnet_lite0",
}
PRESETS = [
    pytest.param(preset, id=preset.name, marks=[] if preset.name in QUICK else pytest.mark.slow)
    for preset in encoder_presets()
]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset(preset, tmp_path):
    torch.manual_seed(0)
    size = encoder_size(preset.name)
    options = {"encoder": preset.name, "metadata_width": 5, "image_size": size, "outputs": 2}
    # Of film, because it has no batch norm: the largest learn one image at a time here.
    network = create_classifier("film", **options)
    record = encoder_record(preset.name)
    assert network.mean == record.mean
    assert network.std == record.std
    parameters = sum(p.numel() for p in network.encoder.parameters()) / 1e6
    assert preset.parameters == pytest.approx(parameters, abs=0.06)

    # The two largest keep to 6 GB: one image, and the inside of each block computed twice.
    count = 2 if preset.activations_mb < 1500 else 1
    if count == 1:
        network.encoder.set_grad_checkpointing()
    image, metadata = torch.randn(count, 3, size, size), torch.randn(count, 5)
    network.train()
    logits = network(image, metadata)
    assert logits.shape == (count, 2)
    logits.square().mean().backward()
    missing = [name for name, p in network.named_parameters() if p.grad is None]
    assert not missing
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())
    network.zero_grad(set_to_none=True)

    card = WeightCard(
        name=preset.name,
        kind="classifier",
        architecture=network.architecture,
        preprocessing={"size": size},
        training_data="none",
        licence=record.licence,
    )
    save_weights(tmp_path, network.state_dict(), card)
    network.eval()
    small = image[:1]
    with torch.no_grad():
        before = network(small, metadata[:1])
        state, card = load_weights(tmp_path, kind="classifier")
        again = create_classifier(**card.architecture).eval()
        fill_network(again, state, tmp_path)
        assert torch.equal(again(small, metadata[:1]), before)


def test_presets_are_what_the_weights_records_say():
    for preset in encoder_presets():
        record = preset.record
        assert record.origin, f"{preset.name} has no weights"
        assert record.size >= 224
        assert 1 <= preset.batch <= 64
    assert encoder_size("tf_efficientnet_b7.ns_jft_in1k") == 600
    assert encoder_record("tf_efficientnet_lite0").mean == (0.5, 0.5, 0.5)
    assert encoder_preset("tf_efficientnet_b7.ns_jft_in1k").batch < encoder_preset("alexnet").batch
    with pytest.raises(UsageError, match="did you mean 'resnet50'"):
        encoder_preset("resnet5")


def test_activations_are_what_backward_keeps():
    # Without computing: tensors on the meta device have shapes only.
    preset = encoder_preset("tf_efficientnet_b3")
    size = preset.record.size
    kept: dict[int, int] = {}
    alive = []

    def keep(tensor):
        alive.append(tensor)
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return tensor

    with torch.device("meta"):
        encoder = create_encoder(preset.name).train()
        own = [t.untyped_storage() for t in (*encoder.parameters(), *encoder.buffers())]
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            encoder(torch.randn(2, 3, size, size))
    for storage in own:
        kept.pop(storage._cdata, None)
    assert preset.activations_mb == pytest.approx(sum(kept.values()) / 2 / 2**20, rel=0.05)


def test_unknown_encoders_list_near_ones():
    with pytest.raises(UsageError, match="did you mean 'vit_base_patch16_224'"):
        create_encoder("vit_bse_patch16_224")
    with pytest.raises(UsageError, match="did you mean 'alexnet'"):
        create_encoder("alexnett")
    with pytest.raises(UsageError, match="clsstage models --encoders"):
        create_encoder("zzzz")
    with pytest.raises(UsageError, match="weights of resnet50 'a1_in2k'"):
        create_encoder("resnet50.a1_in2k")


@pytest.fixture(scope="module")
def torchvision_alexnet(tmp_path_factory):
    from torchvision.models import alexnet

    torch.manual_seed(0)
    network = alexnet().eval()
    file = tmp_path_factory.mktemp("alexnet") / "alexnet.pth"
    torch.save(network.state_dict(), file)
    return network, file


def test_alexnet_is_torchvisions(torchvision_alexnet):
    network, file = torchvision_alexnet
    encoder = create_encoder("alexnet").eval()
    origin = load_encoder(encoder, "alexnet", str(file))
    assert origin.source == "file:alexnet.pth"
    image = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        maps = encoder.forward_features(image)
        assert torch.equal(maps, network.features(image))
        found = encoder.forward_head(maps)
        wanted = network.classifier[:-1](network.avgpool(maps).flatten(1))
        assert torch.equal(found, wanted)
    assert (maps.shape[1], found.shape[1]) == (encoder.num_features, encoder.head_hidden_size)


def test_a_part_of_alexnet_is_refused(torchvision_alexnet, tmp_path):
    state = torchvision_alexnet[0].state_dict()
    torch.save({k: v for k, v in state.items() if k != "classifier.4.weight"}, tmp_path / "part.pt")
    with pytest.raises(LesionError, match=r"lacks 1 tensors of the network \(classifier.4.weight"):
        load_encoder(create_encoder("alexnet"), "alexnet", str(tmp_path / "part.pt"))
    resnet = create_encoder("test_resnet")
    with pytest.raises(LesionError, match=r"wrong weights: .*alexnet\.pth"):
        load_encoder(resnet, "test_resnet", str(torchvision_alexnet[1]))


def test_alexnet_from_a_hub_that_is_not_there(monkeypatch):
    from torchvision.models import AlexNet_Weights

    def fail(*_args, **_options):
        raise OSError("no route")

    monkeypatch.setattr(AlexNet_Weights, "get_state_dict", fail)
    encoder = create_encoder("alexnet")
    with pytest.raises(LesionError, match="could not fetch the weights of alexnet: no route"):
        load_encoder(encoder, "alexnet", "hub")
    with pytest.raises(LesionError, match="no offline package holds weights of alexnet"):
        load_encoder(encoder, "alexnet", "offline")
    assert load_encoder(encoder, "alexnet", "none").source == "none"


def test_alexnet_from_torchvisions_hub(torchvision_alexnet, monkeypatch):
    from torchvision.models import AlexNet_Weights

    state = torchvision_alexnet[0].state_dict()
    monkeypatch.setattr(AlexNet_Weights, "get_state_dict", lambda *_args, **_options: state)
    network = create_classifier(encoder="alexnet", in_channels=4)
    origin = load_pretrained(network, "auto")
    assert origin.source.startswith("hub:https://download.pytorch.org/")
    assert origin.licence == "bsd-3-clause"
    stem = network.encoder.features[0].weight
    assert torch.equal(stem[:, :3], state["features.0.weight"])
    assert not stem[:, 3].any()


def test_a_local_pth_file_loads(tmp_path):
    donor = timm.create_model("test_resnet", pretrained=False)
    torch.save({"state_dict": donor.state_dict()}, tmp_path / "resnet.pth")
    encoder = create_encoder("test_resnet")
    origin = load_encoder(encoder, "test_resnet", str(tmp_path / "resnet.pth"))
    assert len(origin.sha256) == 64
    assert torch.equal(encoder.conv1[0].weight, donor.conv1[0].weight)


def test_a_transformer_of_another_size_takes_the_weights(tmp_path):
    donor = create_encoder("test_vit")
    with torch.no_grad():
        donor.pos_embed.copy_(
            torch.linspace(0, 1, donor.pos_embed.shape[-1]).expand_as(donor.pos_embed)
        )
    torch.save(donor.state_dict(), tmp_path / "vit.pth")
    encoder = create_encoder("test_vit", in_channels=4, image_size=96)
    load_encoder(encoder, "test_vit", str(tmp_path / "vit.pth"), in_channels=4, image_size=96)
    assert encoder.pos_embed.shape[1] == (96 // 16) ** 2 + 1
    # Positions that are alike everywhere stay what they are.
    assert torch.allclose(encoder.pos_embed[:, 1:], donor.pos_embed[:, 1:37], atol=1e-5)
    assert torch.equal(encoder.patch_embed.proj.weight[:, :3], donor.patch_embed.proj.weight)
    assert not encoder.patch_embed.proj.weight[:, 3].any()
    assert torch.equal(encoder.blocks[0].attn.qkv.weight, donor.blocks[0].attn.qkv.weight)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "alexnet"])
@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
def test_rates_cover_each_parameter_once(name, layer_decay):
    encoder, head = create_encoder(name), nn.Linear(8, 2)
    groups = rate_groups(encoder, head.parameters(), lr=1e-3, backbone=0.1, layer_decay=layer_decay)
    grouped = [p for group in groups for p in group["params"]]
    wanted = [*encoder.parameters(), *head.parameters()]
    assert sorted(map(id, grouped)) == sorted(map(id, wanted))
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert rate[id(head.weight)] == rate[id(head.bias)] == 1e-3
    inner = {rate[id(p)] for p in encoder.parameters()}
    assert max(inner) == pytest.approx(1e-4)
    if layer_decay == 1.0:
        assert len(inner) == 1
    else:
        first, *_, last = encoder.parameters()
        assert rate[id(first)] == min(inner) < max(inner) == rate[id(last)]
    for group in groups:
        decays = group.get("weight_decay") != 0.0
        assert all(p.ndim > 1 for p in group["params"]) if decays else True
        assert decays or all(p.ndim <= 1 or p.shape[0] == 1 for p in group["params"])
    torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.01)


def test_an_encoder_without_layers_learns_at_one_rate():
    encoder, head = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Linear(4, 1)
    encoder[0].weight.requires_grad_(False)
    groups = rate_groups(encoder, head.parameters(), lr=1.0, backbone=0.2, layer_decay=0.5)
    assert sorted((group["lr"], len(group["params"])) for group in groups) == [
        (0.2, 1),
        (0.2, 2),
        (1.0, 1),
        (1.0, 1),
    ]


def test_the_page_of_classifiers_has_every_encoder_and_fusion():
    page = Path(__file__).resolve().parents[2] / "docs" / "reference" / "classifiers.md"
    rows = [line.split(" | ") for line in page.read_text().splitlines() if line.startswith("| `")]
    cells = {row[0].strip("|` "): [cell.strip("| ") for cell in row[1:]] for row in rows}
    for preset in encoder_presets():
        record = preset.record
        assert cells[preset.name] == [
            record.name.partition(".")[2],
            str(record.size),
            f"{preset.parameters:.1f} M",
            f"{preset.activations_mb} MB",
            str(preset.batch),
            f"{preset.backbone:g}",
            f"{preset.layer_decay:g}",
            record.licence,
        ]
    assert set(fusion_names()) <= set(cells)


def test_models_lists_fusions_and_encoders(capsys):
    from clsstage.config import ModelsConfig
    from clsstage.listing import list_models

    list_models(ModelsConfig())
    shown = capsys.readouterr().out
    assert "metablock" in shown
    line = next(line for line in shown.splitlines() if "convnextv2_nano" in line)
    assert line.split()[:5] == ["convnextv2_nano", "224", "15.0", "M", "cc-by-nc-4.0"]
    list_models(ModelsConfig(encoders="alex"))
    assert capsys.readouterr().out == "alexnet\n"
