"""The Attention U-Net: the family's tests, its gates and its deep supervision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from segstage.models import create_segmenter
from segstage.models.attention_unet import AttentionGate
from tests.segstage.family import SegmenterFamily

TINY: dict[str, Any] = {
    "encoder": "tu-test_resnet",
    "encoder_weights": "none",
    "decoder_channels": [16, 16, 8, 8, 8],
}


class TestAttentionUNet(SegmenterFamily):
    name = "attention_unet"
    options = TINY


class TestDeepSupervision(SegmenterFamily):
    name = "attention_unet"
    options = {**TINY, "deep_supervision": True}  # noqa: RUF012


def square(logits: Tensor, truth: Tensor) -> Tensor:
    return (logits - truth).square().mean()


def test_a_gate_is_the_paper_s_formula_and_multiplies_the_skip() -> None:
    torch.manual_seed(0)
    gate = AttentionGate(skip_channels=6, gate_channels=10)
    skip, signal = torch.randn(2, 6, 8, 8), torch.randn(2, 10, 8, 8)
    x = torch.einsum("ic,bchw->bihw", gate.skip.weight[:, :, 0, 0], skip)
    g = torch.einsum("ic,bchw->bihw", gate.gate.weight[:, :, 0, 0], signal)
    inner = (x + g + gate.gate.bias[:, None, None]).clamp(min=0)
    psi = torch.einsum("i,bihw->bhw", gate.psi.weight[0, :, 0, 0], inner) + gate.psi.bias
    expected = 1 / (1 + torch.exp(-psi))[:, None]
    found = gate.coefficients(skip, signal)
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.allclose(gate(skip, signal), skip * expected, atol=1e-6)


def test_coefficients_lie_between_0_and_1_at_the_size_of_the_skip() -> None:
    torch.manual_seed(0)
    gate = AttentionGate(4, 7)
    found = gate.coefficients(torch.randn(3, 4, 16, 12), torch.randn(3, 7, 8, 6)).detach()
    assert found.shape == (3, 1, 16, 12)
    assert 0 < float(found.min()) < float(found.max()) < 1


def test_a_new_gate_is_open_almost_everywhere() -> None:
    torch.manual_seed(0)
    gate = AttentionGate(32, 64)
    found = gate.coefficients(torch.randn(2, 32, 16, 16), torch.randn(2, 64, 8, 8))
    assert float(found.detach().median()) > 0.7


def test_open_gates_give_the_plain_unet_and_closed_ones_do_not() -> None:
    torch.manual_seed(0)
    plain = create_segmenter("unet", **TINY).eval()
    gated = create_segmenter("attention_unet", **TINY).eval()
    gated.network.load_state_dict(plain.network.state_dict())
    images = torch.randn(1, 3, 64, 64)
    assert len(gated.gates) == 4
    with torch.inference_mode():
        for bias, same in ((30.0, True), (-30.0, False)):
            for gate in gated.gates:
                gate.psi.bias.fill_(bias)
                gate.psi.weight.zero_()
            assert torch.allclose(gated(images), plain(images), atol=1e-5) is same


def test_an_encoder_without_a_map_at_half_size_has_nothing_to_gate_there() -> None:
    segmenter = create_segmenter("attention_unet", **{**TINY, "encoder": "tu-test_convnext"})
    assert sum(isinstance(gate, AttentionGate) for gate in segmenter.gates) == 3
    with torch.inference_mode():
        assert segmenter.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 1, 64, 64)


def test_supervision_weights_halve_towards_the_coarse_stages() -> None:
    segmenter = create_segmenter("attention_unet", **TINY, deep_supervision=True).eval()
    for layer in [*segmenter.auxiliary, segmenter.network.segmentation_head[0]]:
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    images, truth = torch.randn(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    assert segmenter.loss(images, truth, square).item() == 0
    whole = 1 + 1 / 2 + 1 / 4 + 1 / 8 + 1 / 16
    for part, head in zip((1 / 16, 1 / 8, 1 / 4, 1 / 2), segmenter.auxiliary, strict=True):
        torch.nn.init.ones_(head.bias)
        assert segmenter.loss(images, truth, square).item() == pytest.approx(part / whole)
        torch.nn.init.zeros_(head.bias)


def test_supervision_changes_neither_prediction_nor_the_loss_of_the_rest() -> None:
    torch.manual_seed(0)
    with_heads = create_segmenter("attention_unet", **TINY, deep_supervision=True).eval()
    without = create_segmenter("attention_unet", **TINY).eval()
    state = with_heads.state_dict()
    without.load_state_dict({k: v for k, v in state.items() if not k.startswith("auxiliary")})
    images, truth = torch.randn(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
    with torch.inference_mode():
        assert torch.equal(with_heads(images), without(images))
        plain = without.loss(images, truth, square)
        assert torch.equal(plain, square(without(images), truth))
        assert not torch.equal(with_heads.loss(images, truth, square), plain)
