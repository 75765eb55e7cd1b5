"""Weights: cards, safetensors, and ImageNet weights that are whole and give ImageNet's features."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch

from lesioncore.errors import LesionError, UsageError
from weights.card import WeightCard
from weights.imagenet import (
    OFFLINE_ARCHITECTURE,
    OFFLINE_SHA256,
    fill,
    imagenet_preprocessing,
    lite0_to_timm,
    load_imagenet,
    offline_file,
    read_tensors,
)
from weights.resolve import resolve, shipped_names
from weights.store import load_weights, read_card, save_weights

CARD = WeightCard(
    name="tiny",
    kind="segmenter",
    architecture={"name": "unet", "encoder": "tu-test_resnet"},
    preprocessing={"size": 64, "mean": [0.5] * 3, "std": [0.5] * 3},
)


def state() -> dict[str, torch.Tensor]:
    layer = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    return {**layer.state_dict(), "steps": torch.tensor(3)}


# Cards and files.


def test_a_weight_comes_back_with_its_card(tmp_path: Path) -> None:
    tensors = state()
    saved = save_weights(tmp_path / "w", tensors, CARD)
    for place in (tmp_path / "w", tmp_path / "w" / "weights.safetensors"):
        found, card = load_weights(place, kind="segmenter")
        assert card == saved == read_card(place)
        assert all(torch.equal(found[key], tensors[key]) for key in tensors)
    assert len(saved.sha256) == 64
    assert saved.created


def test_equal_weights_are_equal_bytes(tmp_path: Path) -> None:
    tensors = state()
    saved = {save_weights(tmp_path / str(n), tensors, CARD).sha256 for n in range(12)}
    assert len(saved) == 1


def test_another_file_than_the_cards_is_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "a", state(), CARD)
    save_weights(tmp_path / "b", state(), CARD)
    (tmp_path / "a" / "weights.safetensors").write_bytes(
        (tmp_path / "b" / "weights.safetensors").read_bytes()
    )
    with pytest.raises(LesionError, match=r"wrong weights: .*sha256"):
        load_weights(tmp_path / "a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: (w / "card.json").unlink(), "no card.json beside"),
        (lambda w: (w / "weights.safetensors").unlink(), "no weights in"),
        (lambda w: (w / "card.json").write_text("[]"), "no weight card"),
        (lambda w: (w / "card.json").write_text("{}"), "lacks architecture"),
        (lambda w: (w / "card.json").write_text("{"), "as JSON"),
    ],
)
def test_what_is_no_weight_says_why(tmp_path: Path, change: object, message: str) -> None:
    save_weights(tmp_path / "w", state(), CARD)
    change(tmp_path / "w")  # type: ignore[operator]
    with pytest.raises(LesionError, match=message):
        load_weights(tmp_path / "w")


def test_the_weights_of_the_other_stage_are_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "w", state(), CARD)
    with pytest.raises(LesionError, match="holds a segmenter"):
        load_weights(tmp_path / "w", kind="classifier")


def test_a_pickle_under_the_name_of_safetensors_is_not_opened(tmp_path: Path) -> None:
    save_weights(tmp_path / "w", state(), CARD)
    torch.save({"a": torch.zeros(1)}, tmp_path / "w" / "weights.safetensors")
    card = json.loads((tmp_path / "w" / "card.json").read_text()) | {"sha256": ""}
    (tmp_path / "w" / "card.json").write_text(json.dumps(card))
    with pytest.raises(LesionError, match="cannot read"):
        load_weights(tmp_path / "w")


def test_cards_of_newer_versions(tmp_path: Path) -> None:
    values = CARD.to_dict()
    assert WeightCard.from_dict(values | {"a_new_key": 1}) == CARD
    with pytest.raises(LesionError, match="newer version"):
        WeightCard.from_dict(values | {"schema_version": 99})


def test_a_name_is_a_path_or_a_shipped_weight(tmp_path: Path) -> None:
    save_weights(tmp_path / "w", state(), CARD)
    assert resolve(tmp_path / "w") == tmp_path / "w"
    with pytest.raises(LesionError, match="no such weights"):
        resolve(tmp_path / "nothing")
    for name in shipped_names():
        assert (resolve(name) / "card.json").is_file()
    if not shipped_names():
        with pytest.raises(LesionError, match="no segmenter ships"):
            resolve(None, kind="segmenter")


# ImageNet weights.


@pytest.fixture(scope="module")
def lite0() -> torch.nn.Module:
    if offline_file() is None:
        pytest.skip("the extra `offline` is not installed")
    model = timm.create_model(OFFLINE_ARCHITECTURE, pretrained=False)
    record = load_imagenet(model, OFFLINE_ARCHITECTURE, "offline")
    assert record.sha256 == OFFLINE_SHA256
    assert record.licence == "Apache-2.0"
    return model.eval()


def test_every_tensor_of_the_offline_package_has_its_place(lite0: torch.nn.Module) -> None:
    file = offline_file()
    assert file is not None
    source = lite0_to_timm(read_tensors(file))
    target = lite0.state_dict()
    assert source.keys() == target.keys()
    assert all(torch.equal(source[key], target[key]) for key in source)


def test_batch_statistics_fit_what_flows_through(lite0: torch.nn.Module) -> None:
    """On photographs each batch norm sees about the mean and variance that it stored.

    A tensor in the wrong place, another padding or another epsilon would show here.
    """
    photos = torch.stack([photo(name) for name in ("china.jpg", "flower.jpg")])
    away: list[float] = []

    def look(layer: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        mean = inputs[0].mean(dim=(0, 2, 3))
        spread = (layer.running_var + layer.eps).sqrt()
        away.append(float(((mean - layer.running_mean).abs() / spread).mean()))

    norms = [m for m in lite0.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    handles = [norm.register_forward_pre_hook(look) for norm in norms]
    with torch.inference_mode():
        lite0(photos)
    for handle in handles:
        handle.remove()
    assert len(away) == 49
    assert max(away) < 1


@pytest.mark.parametrize(("name", "classes"), [("flower.jpg", {985}), ("china.jpg", {698, 663})])
def test_it_recognises_photographs(lite0: torch.nn.Module, name: str, classes: set[int]) -> None:
    """ImageNet classes: 985 daisy, 698 palace, 663 monastery."""
    with torch.inference_mode():
        best = lite0(photo(name)[None]).softmax(1)[0].topk(3)
    assert int(best.indices[0]) in classes
    assert float(best.values[0]) > 0.2


def photo(name: str) -> torch.Tensor:
    """Return a photograph that scikit-learn ships, (3, 224, 224), normalised as timm says."""
    import cv2
    from sklearn.datasets import load_sample_image

    image = load_sample_image(name)
    scale = 256 / min(image.shape[:2])
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    y, x = (image.shape[0] - 224) // 2, (image.shape[1] - 224) // 2
    square = image[y : y + 224, x : x + 224] / 255
    mean, std = imagenet_preprocessing(OFFLINE_ARCHITECTURE)
    return torch.tensor((square - mean) / std).permute(2, 0, 1).float()


def test_lite0_is_normalised_around_one_half() -> None:
    assert imagenet_preprocessing("tf_efficientnet_lite0") == ((0.5,) * 3, (0.5,) * 3)
    assert imagenet_preprocessing("resnet18")[0] == (0.485, 0.456, 0.406)
    with pytest.raises(UsageError, match="unknown timm architecture"):
        imagenet_preprocessing("tf_efficientnet_lite9")


@pytest.mark.parametrize("options", [{"num_classes": 1}, {"num_classes": 0}, {"features_only": 1}])
def test_networks_without_the_classifier_are_filled_too(
    lite0: torch.nn.Module, options: dict[str, int]
) -> None:
    model = timm.create_model(OFFLINE_ARCHITECTURE, pretrained=False, **options)
    load_imagenet(model, OFFLINE_ARCHITECTURE)
    whole = lite0.state_dict()
    for key, value in model.state_dict().items():
        if not key.startswith("classifier"):
            assert torch.equal(value, whole[key])


def test_feature_networks_whose_names_are_flattened(tmp_path: Path) -> None:
    whole = timm.create_model("test_convnext", pretrained=False)
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    features = timm.create_model("test_convnext", pretrained=False, features_only=True)
    record = load_imagenet(features, "test_convnext", str(tmp_path / "w.pth"))
    assert record.source == "file:w.pth"
    expected = whole.state_dict()["stages.1.blocks.0.conv_dw.weight"]
    assert torch.equal(features.state_dict()["stages_1.blocks.0.conv_dw.weight"], expected)


def test_a_partial_load_is_refused(tmp_path: Path) -> None:
    model = timm.create_model("test_resnet", pretrained=False)
    state = model.state_dict()
    del state["layer1.0.conv1.weight"]
    with pytest.raises(LesionError, match=r"lacks 1 tensors .*layer1\.0\.conv1\.weight"):
        fill(model, state, "a file")
    state["layer1.0.conv1.weight"] = torch.zeros(1, 1, 1, 1)
    with pytest.raises(LesionError, match="1 of another shape"):
        fill(model, state, "a file")


def test_an_altered_offline_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import weights.imagenet

    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pth")
    monkeypatch.setattr(weights.imagenet, "offline_file", lambda: tmp_path / "w.pth")
    model = timm.create_model(OFFLINE_ARCHITECTURE, pretrained=False)
    with pytest.raises(LesionError, match="wrong weights"):
        load_imagenet(model, OFFLINE_ARCHITECTURE)


def test_a_pickle_with_code_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "was-run",))

    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(LesionError, match="cannot read weights") as caught:
        read_tensors(tmp_path / "evil.pth")
    assert "weights_only" not in str(caught.value)  # torch would advise to unpickle it
    assert not (tmp_path / "was-run").exists()


def test_sources_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = timm.create_model("test_resnet", pretrained=False)
    with pytest.raises(LesionError, match="no such encoder weights"):
        load_imagenet(model, "test_resnet", str(tmp_path / "none.pth"))
    with pytest.raises(LesionError, match="no offline package"):
        load_imagenet(model, "test_resnet", "offline")

    def no_network(*arguments: object, **options: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", no_network)
    with pytest.raises(LesionError, match="--encoder-weights PATH"):
        load_imagenet(model, "test_resnet.r160_in1k", "hub")
