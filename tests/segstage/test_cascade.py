"""The cascade: the family's tests, its fallback, its blend, and the weights of both parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lesioncore.errors import LesionError, UsageError
from segstage.config import TrainConfig
from segstage.models import create_segmenter
from tests.segstage.family import SIZE, SegmenterFamily

COARSE: dict[str, Any] = {
    "name": "unet",
    "encoder": "tu-test_resnet",
    "decoder_channels": [16, 16, 8, 8, 8],
}
OPTIONS: dict[str, Any] = {
    "coarse": COARSE,
    "coarse_size": 64,
    "prompted": {"name": "sam", "encoder": "tiny"},
    "encoder_weights": "none",
}


class TestCascade(SegmenterFamily):
    name = "cascade"
    options = OPTIONS


class Square(torch.nn.Module):
    """Stands in for a coarse network: a square of lesion, or nothing."""

    def __init__(self, filled: bool) -> None:
        super().__init__()
        self.filled = filled

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = torch.full_like(images[:, :1], -4.0)
        if self.filled:
            logits[..., 16:48, 16:32] = 4.0
        return logits


def cascade(filled: bool, **options: Any) -> Any:
    torch.manual_seed(0)
    made = create_segmenter("cascade", **OPTIONS, **options).eval()
    made.coarse.network = Square(filled)
    return made


@torch.inference_mode()
def test_where_the_coarse_one_finds_nothing_its_probabilities_stay() -> None:
    logits = cascade(filled=False)(torch.rand(2, 3, SIZE, SIZE))
    assert torch.allclose(logits, torch.full_like(logits, -4.0), atol=1e-3)


@torch.inference_mode()
def test_the_box_is_that_of_the_coarse_mask_and_its_margin() -> None:
    made = cascade(filled=True, margin=0.1)
    prompt = made.coarse_prompts(made.coarse_probability(torch.rand(1, 3, SIZE, SIZE)))[0]
    assert prompt.box == pytest.approx((0.25 - 0.05, 0.25 - 0.025, 0.75 + 0.05, 0.5 + 0.025))
    assert prompt.point == pytest.approx((0.5, 0.375), abs=0.15)


@torch.inference_mode()
def test_the_blend_lies_between_both() -> None:
    images = torch.rand(1, 3, SIZE, SIZE)
    fine, half, coarse = (
        cascade(filled=True, blend=part)(images).sigmoid() for part in (0.0, 0.5, 1.0)
    )
    assert torch.allclose(half, (fine + coarse) / 2, atol=1e-5)
    assert torch.allclose(coarse[..., 16:48, 16:32], torch.tensor(4.0).sigmoid(), atol=1e-4)
    assert not torch.allclose(fine, coarse)


def test_the_coarse_part_does_not_learn() -> None:
    made = create_segmenter("cascade", **OPTIONS).train()
    assert not made.coarse.training
    assert not any(p.requires_grad for p in made.coarse.parameters())
    assert made.trainable
    published = OPTIONS | {"prompted": {"name": "sam", "encoder": "tiny", "tune": "none"}}
    assert not create_segmenter("cascade", **published).trainable


def test_the_weights_of_a_run_become_the_coarse_part(run: TrainConfig) -> None:
    with pytest.raises(LesionError, match="2 members"):
        create_segmenter("cascade", **(OPTIONS | {"coarse": str(run.out), "coarse_size": None}))
    from weights.store import load_weights

    member = run.out / "member-0"
    state, card = load_weights(member)
    made = create_segmenter("cascade", **(OPTIONS | {"coarse": str(member), "coarse_size": None}))
    assert made.coarse_size == 64
    assert card.sha256 in made.origin["sha256"]
    assert all(torch.equal(made.coarse.state_dict()[k], v) for k, v in state.items())
    # Whole from one state dict, without the run.
    again = create_segmenter(**made.architecture, encoder_weights="none").eval()
    again.load_state_dict(made.state_dict())
    images = torch.rand(1, 3, SIZE, SIZE)
    with torch.inference_mode():
        assert torch.equal(again(images), made.eval()(images))


def test_it_is_trained_and_used_like_any_other(
    archive: Path, run: TrainConfig, caplog: pytest.LogCaptureFixture
) -> None:
    from segstage.predictor import LesionSegmenter
    from segstage.train import train
    from tests.segstage.conftest import tiny

    out = run.out.parent / "cascade"
    config = tiny(
        archive,
        out,
        arch="cascade",
        arch_options={
            "coarse": str(run.out / "member-0"),
            "prompted": {"name": "sam", "encoder": "tiny"},
        },
    )
    assert train(config) == 0
    card = LesionSegmenter.load(out, device="cpu").cards[0]
    assert card.architecture["coarse"]["name"] == "unet"
    assert "coarse:" in card.first_weights["source"]
    # This split is not that of the coarse run, which learned from some of the images.
    assert "member-0 learned from" in caplog.text


def test_wrong_parts_are_refused() -> None:
    with pytest.raises(UsageError, match="needs a coarse segmenter"):
        create_segmenter("cascade", encoder_weights="none")
    with pytest.raises(UsageError, match="takes no prompt"):
        create_segmenter("cascade", **(OPTIONS | {"prompted": "unet"}))
    with pytest.raises(UsageError, match="has no weights"):
        create_segmenter("cascade", **(OPTIONS | {"encoder_weights": "auto"}))
    with pytest.raises(UsageError, match="blend"):
        create_segmenter("cascade", **OPTIONS, blend=2)
