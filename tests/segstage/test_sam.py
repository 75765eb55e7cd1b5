"""SAM: the family's tests on a tiny one, batches, points, LoRA, and checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from segment_anything.modeling import MaskDecoder

from lesioncore.errors import LesionError, UsageError
from segstage.models import create_segmenter
from segstage.models._lora import LowRankLinear
from tests.segstage.family import SegmenterFamily

TINY: dict[str, Any] = {"encoder": "tiny", "encoder_weights": "none"}


class TestSam(SegmenterFamily):
    name = "sam"
    options = TINY


class TestSamWithAdapters(SegmenterFamily):
    name = "sam"
    options = TINY | {"lora_rank": 2, "point": True}


def images(count: int = 2) -> torch.Tensor:
    torch.manual_seed(2)
    return torch.randn(count, 3, 64, 64)


@torch.inference_mode()
def test_a_batch_gives_what_its_images_give_one_by_one() -> None:
    segmenter = create_segmenter("sam", **TINY, prompt="centre").eval()
    both = segmenter(images())
    alone = torch.cat([segmenter(images()[n : n + 1]) for n in (0, 1)])
    assert torch.allclose(both, alone, atol=1e-5)
    assert not torch.allclose(both[0], both[1])


@torch.inference_mode()
def test_the_decoder_gives_the_mask_of_the_original() -> None:
    segmenter = create_segmenter("sam", **TINY, prompt="centre").eval()
    ours = segmenter.network.mask_decoder
    embeddings = segmenter.embed(images(1))
    sparse, dense = segmenter._embed_prompts(segmenter.prompts(images(1)))
    position = segmenter.network.prompt_encoder.get_dense_pe()
    theirs, _ = MaskDecoder.predict_masks(ours, embeddings, position, sparse, dense)
    assert torch.allclose(ours(embeddings, position, sparse, dense), theirs[:, :1], atol=1e-5)


@torch.inference_mode()
def test_a_point_is_told_too() -> None:
    plain = create_segmenter("sam", **TINY, prompt="centre").eval()
    pointed = create_segmenter("sam", **TINY, prompt="centre", point=True).eval()
    pointed.load_state_dict(plain.state_dict())
    assert not torch.allclose(plain(images()), pointed(images()))


@torch.inference_mode()
def test_new_adapters_change_nothing() -> None:
    plain = create_segmenter("sam", **TINY, prompt="centre").eval()
    adapted = create_segmenter("sam", **TINY, prompt="centre", lora_rank=2).eval()
    missing, unexpected = adapted.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert all("lora_" in name for name in missing)
    assert torch.allclose(plain(images()), adapted(images()), atol=1e-6)


def test_only_adapters_and_decoder_learn() -> None:
    segmenter = create_segmenter("sam", **TINY, lora_rank=2).train()
    before = {k: v.clone() for k, v in segmenter.state_dict().items()}
    learner = torch.optim.AdamW([p for p in segmenter.parameters() if p.requires_grad], lr=1e-2)
    truth = torch.zeros(2, 1, 64, 64)
    truth[:, :, 20:40, 20:40] = 1
    for _ in range(2):
        learner.zero_grad()
        bce = torch.nn.functional.binary_cross_entropy_with_logits
        segmenter.loss(images(), truth, bce).backward()
        learner.step()
    changed = {k for k, v in segmenter.state_dict().items() if not torch.equal(v, before[k])}
    assert any(".lora_a" in name for name in changed)
    assert any("mask_decoder" in name for name in changed)
    assert all("lora_" in name or "mask_decoder" in name for name in changed)
    adapted = [m for m in segmenter.modules() if isinstance(m, LowRankLinear)]
    assert len(adapted) == 4  # two blocks, qkv and proj


def test_an_encoder_of_another_family_is_refused() -> None:
    with pytest.raises(UsageError, match="vit_b"):
        create_segmenter("sam", encoder="tu-tf_efficientnet_lite0", encoder_weights="none")


def test_checkpoints_from_a_file_alone(tmp_path: Path) -> None:
    tiny = create_segmenter("sam", **TINY)
    file = tmp_path / "sam.pth"
    torch.save(tiny.network.state_dict(), file)
    again = create_segmenter("sam", encoder="tiny", encoder_weights=str(file))
    ours, theirs = again.network.state_dict(), tiny.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    with pytest.raises(LesionError, match="--encoder-weights PATH"):
        create_segmenter("sam", encoder="tiny", encoder_weights="auto")


def test_an_unfit_checkpoint_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.pth"
    torch.save({"image_encoder.pos_embed": torch.zeros(1, 3, 3, 8)}, file)
    with pytest.raises(LesionError, match=r"wrong weights: .*other\.pth lacks"):
        create_segmenter("sam", encoder="tiny", encoder_weights=str(file))


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pickled.pth"
    torch.save({"network": Path("somewhere")}, file)
    with pytest.raises(LesionError, match="holds more than tensors"):
        create_segmenter("sam", encoder="tiny", encoder_weights=str(file))
