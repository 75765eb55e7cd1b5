"""Mask R-CNN: the family's tests, its targets, its losses and how instances become a mask."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lesioncore.errors import UsageError
from segstage.models import create_segmenter
from segstage.models.mask_rcnn import _target
from tests.segstage.family import SegmenterFamily

TINY: dict[str, Any] = {
    "encoder": "tu-test_resnet",
    "encoder_weights": "none",
    "pyramid_channels": 16,
}


class TestMaskRCNN(SegmenterFamily):
    name = "mask_rcnn"
    options = TINY


def disc(size: int = 64, radius: int = 14, centre: tuple[int, int] = (30, 36)) -> Tensor:
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2).float()


def test_a_mask_is_one_instance_whatever_its_parts() -> None:
    mask = torch.zeros(32, 40)
    mask[4:9, 6:10] = 1
    mask[20:22, 30:33] = 1
    target = _target(mask)
    assert target["boxes"].tolist() == [[6, 4, 33, 22]]
    assert target["labels"].tolist() == [1]
    assert torch.equal(target["masks"][0], mask)


def test_an_empty_mask_is_no_instance() -> None:
    target = _target(torch.zeros(32, 40))
    assert target["boxes"].shape == (0, 4)
    assert target["masks"].shape == (0, 32, 40)


@pytest.mark.parametrize("empty", [(True, True), (False, True)])
def test_pictures_without_a_lesion_teach_too(empty: tuple[bool, bool]) -> None:
    torch.manual_seed(0)
    segmenter = create_segmenter("mask_rcnn", **TINY).train()
    truth = torch.stack([torch.zeros(64, 64) if none else disc() for none in empty])[:, None]
    loss = segmenter.loss(torch.randn(2, 3, 64, 64), truth, torch.sub)
    loss.backward()
    assert torch.isfinite(loss)
    assert float(loss.detach()) > 0


def test_it_learns_a_disc_and_draws_it() -> None:
    torch.manual_seed(0)
    segmenter = create_segmenter("mask_rcnn", **TINY).train()
    truth = torch.stack([disc(), disc(centre=(28, 28), radius=18)])[:, None]
    images = 2 * truth.repeat(1, 3, 1, 1) - 1 + 0.1 * torch.randn(2, 3, 64, 64)
    optimiser = torch.optim.Adam(segmenter.parameters(), 2e-3)
    for _ in range(60):
        optimiser.zero_grad()
        segmenter.loss(images, truth, torch.sub).backward()
        optimiser.step()
    # Statistics of two pictures: batch normalisation is taken as the last steps left it.
    with torch.inference_mode():
        logits = segmenter.eval()(images)
    guess = logits > 0
    both = (guess & (truth > 0.5)).sum().float()
    assert float(both / (guess | (truth > 0.5)).sum()) > 0.7


def found(*boxes: tuple[float, list[float]]) -> dict[str, Tensor]:
    return {
        "scores": torch.tensor([score for score, _ in boxes]),
        "boxes": torch.tensor([box for _, box in boxes]).reshape(-1, 4),
        "masks": torch.ones(len(boxes), 1, 28, 28),
    }


def test_best_takes_the_surest_and_union_all_sure_ones() -> None:
    detections = found((0.9, [4, 4, 20, 20]), (0.6, [40, 40, 60, 60]), (0.3, [4, 40, 20, 60]))
    best = create_segmenter("mask_rcnn", **TINY)._merge(detections, (64, 64))
    union = create_segmenter("mask_rcnn", **TINY, instances="union")._merge(detections, (64, 64))
    places = [(12, 12), (50, 50), (50, 12)]
    assert [float(best[y, x]) > 0.5 for y, x in places] == [True, False, False]
    assert [float(union[y, x]) > 0.5 for y, x in places] == [True, True, False]


@pytest.mark.parametrize("instances", ["best", "union"])
def test_an_unsure_best_is_kept_and_nothing_is_nothing(instances: str) -> None:
    segmenter = create_segmenter("mask_rcnn", **TINY, instances=instances)
    assert float(segmenter._merge(found((0.2, [4, 4, 20, 20])), (64, 64)).max()) > 0.5
    assert float(segmenter._merge(found(), (64, 64)).max()) == 0


def test_where_nothing_is_detected_logits_are_very_low() -> None:
    segmenter = create_segmenter("mask_rcnn", **TINY).eval()
    segmenter.network.roi_heads.score_thresh = 1.0
    with torch.inference_mode():
        assert float(segmenter(torch.randn(1, 3, 64, 64)).max()) < -9


def test_pictures_go_in_as_they_are_and_a_batch_changes_nothing() -> None:
    torch.manual_seed(0)
    segmenter = create_segmenter("mask_rcnn", **TINY).eval()
    images = torch.randn(3, 3, 64, 96)
    with torch.inference_mode():
        together = segmenter(images)
        alone = torch.cat([segmenter(image[None]) for image in images])
        again = segmenter(images)
    assert together.shape == (3, 1, 64, 96)
    assert torch.allclose(together, alone, atol=1e-4)
    assert torch.equal(together, again)


def test_a_forward_while_training_leaves_it_training_and_its_statistics() -> None:
    segmenter = create_segmenter("mask_rcnn", **TINY).train()
    before = {k: v.clone() for k, v in segmenter.state_dict().items()}
    segmenter(torch.randn(2, 3, 64, 64))
    assert segmenter.network.training
    assert all(torch.equal(v, before[k]) for k, v in segmenter.state_dict().items())


def test_an_unknown_choice_of_instances_is_refused() -> None:
    with pytest.raises(UsageError, match="best or union"):
        create_segmenter("mask_rcnn", **TINY, instances="all")
