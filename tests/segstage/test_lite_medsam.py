"""LiteMedSAM: the family's tests on a small one, its published weights, and prompts by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lesioncore.errors import LesionError, UsageError
from segstage.models import create_segmenter
from tests.segstage.family import SegmenterFamily
from weights import lite_medsam
from weights.imagenet import read_tensors

SMALL: dict[str, Any] = {
    "encoder_weights": "none",
    "widths": [32, 32, 32, 32],
    "depths": [1, 1, 1, 1],
    "image_size": 64,
}


class TestLiteMedSam(SegmenterFamily):
    name = "lite_medsam"
    options = SMALL


def disc(side: int = 64) -> torch.Tensor:
    """A dark disc on bright skin, (1, side, side, 3) uint8."""
    y, x = np.mgrid[:side, :side]
    inside = (y - side * 0.45) ** 2 + (x - side * 0.55) ** 2 < (side * 0.2) ** 2
    image = np.where(inside[..., None], (90, 50, 40), (220, 180, 160)).astype(np.uint8)
    return torch.from_numpy(image)[None]


def test_the_prompt_decides_what_is_drawn() -> None:
    segmenter = create_segmenter("lite_medsam", **SMALL).eval()
    images = segmenter.prepare(disc())
    segmenter.prompt = "saliency"
    y0, x0, y1, x1 = segmenter.prompts(images)[0].box
    assert (y0, x0, y1, x1) == pytest.approx((0.23, 0.33, 0.67, 0.77), abs=0.04)
    found = {}
    with torch.inference_mode():
        for segmenter.prompt in ("saliency", "centre", "image"):
            found[segmenter.prompt] = segmenter(images)
    assert not torch.allclose(found["saliency"], found["image"])
    assert not torch.allclose(found["centre"], found["image"])


def test_only_the_decoder_learns_unless_told_otherwise() -> None:
    learns = {
        name.split(".")[1]
        for name, p in create_segmenter("lite_medsam", **SMALL).named_parameters()
        if p.requires_grad
    }
    assert learns == {"mask_decoder"}
    published = create_segmenter("lite_medsam", **SMALL, tune="none")
    assert not published.trainable
    assert not any(p.requires_grad for p in published.parameters())


def test_training_leaves_the_encoder_as_it_was() -> None:
    segmenter = create_segmenter("lite_medsam", **SMALL).train()
    before = {k: v.clone() for k, v in segmenter.network.image_encoder.state_dict().items()}
    images, truth = segmenter.prepare(disc()), torch.zeros(1, 1, 64, 64)
    loss = segmenter.loss(images, truth, torch.nn.functional.binary_cross_entropy_with_logits)
    loss.backward()
    after = segmenter.network.image_encoder.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="--arch cascade"):
        create_segmenter("lite_medsam", **SMALL, prompt="coarse")
    with pytest.raises(UsageError, match="saliency"):
        create_segmenter("lite_medsam", **SMALL, prompt="hand")
    with pytest.raises(UsageError, match="multiples of 32"):
        create_segmenter("lite_medsam", **(SMALL | {"widths": [30, 32, 32, 32]}))


def test_an_unfit_checkpoint_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    small = create_segmenter("lite_medsam", **SMALL)
    file = tmp_path / "small.safetensors"
    save_file(small.network.state_dict(), str(file))
    again = create_segmenter("lite_medsam", **(SMALL | {"encoder_weights": str(file)}))
    assert again.origin["source"] == "file:small.safetensors"
    with pytest.raises(LesionError, match=r"wrong weights.*another shape"):
        create_segmenter("lite_medsam", encoder_weights=str(file))
    with pytest.raises(LesionError, match="no such weights"):
        create_segmenter("lite_medsam", encoder_weights=str(tmp_path / "none.pth"))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite_medsam, "lite_medsam_file", lambda: None)
    with pytest.raises(LesionError, match=r"lesion-pipeline\[offline\]"):
        create_segmenter("lite_medsam")


def test_another_file_of_the_package_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "lite_medsam.pth"
    file.write_bytes(b"something else")
    monkeypatch.setattr(lite_medsam, "lite_medsam_file", lambda: file)
    with pytest.raises(LesionError, match=r"wrong weights.*sha256"):
        create_segmenter("lite_medsam")


@pytest.mark.skipif(
    lite_medsam.lite_medsam_file() is None, reason="the extra `offline` is not installed"
)
def test_the_published_weights_fill_every_tensor() -> None:
    segmenter = create_segmenter("lite_medsam")
    assert segmenter.origin["sha256"] == lite_medsam.SHA256
    file = lite_medsam.lite_medsam_file()
    assert file is not None
    published = lite_medsam.lite_medsam_names(read_tensors(file))
    ours = segmenter.network.state_dict()
    assert set(ours) == set(published)
    assert all(torch.equal(ours[name], value) for name, value in published.items())
