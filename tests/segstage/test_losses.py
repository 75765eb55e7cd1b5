"""Losses by name: what each makes small, and what a wrong name says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from lesioncore.errors import UsageError
from segstage.distances import signed_distance
from segstage.losses import LOSSES, create_loss, lovasz, parse_loss, soft_overlap


def disc(radius: float, side: int = 32) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return (((y - 15.5) ** 2 + (x - 15.5) ** 2).sqrt() <= radius).float()[None, None]


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_truth_costs_least_and_its_opposite_most(name: str) -> None:
    truth = disc(8)
    right = (truth * 2 - 1) * 20
    near = (disc(10) * 2 - 1) * 20
    loss = create_loss(name)
    assert loss(right, truth) < loss(near, truth) < loss(-right, truth)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_loss_leads_from_noise_to_the_truth(name: str) -> None:
    torch.manual_seed(0)
    truth = torch.cat([disc(8), disc(5)])
    logits = torch.randn(2, 1, 32, 32, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.3)
    loss = create_loss(name)
    for _ in range(60):
        optimiser.zero_grad()
        loss(logits, truth).backward()
        optimiser.step()
    assert ((logits > 0) == (truth > 0.5)).float().mean() > 0.97


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_empty_and_full_masks_give_finite_losses_and_gradients(name: str) -> None:
    for truth in (torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)):
        logits = torch.zeros(1, 1, 8, 8, requires_grad=True)
        loss = create_loss(name)(logits, truth)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(logits.grad).all()


def test_soft_overlap_of_hard_masks_is_dice_and_jaccard() -> None:
    a, b = torch.zeros(1, 1, 20, 20), torch.zeros(1, 1, 20, 20)
    a[..., :10, :], b[..., 5:15, :] = 1, 1
    assert soft_overlap(a, b, 0.5, 0.5).item() == pytest.approx(1 / 2, abs=3e-3)
    assert soft_overlap(a, b, 1, 1).item() == pytest.approx(1 / 3, abs=3e-3)
    empty = torch.zeros(1, 1, 4, 4)
    assert soft_overlap(empty, empty, 0.5, 0.5).item() == 1


def test_tversky_minds_a_missed_pixel_more_than_an_extra_one() -> None:
    truth, small, large = disc(8), disc(7), disc(9)
    tversky = create_loss("tversky")
    assert tversky((small * 2 - 1) * 20, truth) > tversky((large * 2 - 1) * 20, truth)


def test_lovasz_is_the_jaccard_loss_where_all_margins_are_one() -> None:
    # With hard scores of -1 and 1 errors are 0 or 2: the extension gives 2 (1 - Jaccard).
    truth, guess = disc(8), disc(6)
    both = (truth * guess).sum()
    index = both / (truth.sum() + guess.sum() - both)
    assert lovasz(guess * 2 - 1, truth).item() == pytest.approx(2 * (1 - index.item()), abs=1e-5)


def test_distances_are_signed_and_in_parts_of_the_side() -> None:
    mask = disc(8)[0] > 0.5
    found = signed_distance(mask)[0].numpy()
    expected = ndimage.distance_transform_edt(~mask[0].numpy())
    outside = expected > 0
    assert np.allclose(found[outside], expected[outside] / 32, atol=0.02)
    assert found[15, 15] == pytest.approx(-7 / 32, abs=0.03)
    assert not signed_distance(torch.zeros(1, 4, 4, dtype=torch.bool)).any()
    assert not signed_distance(torch.ones(1, 4, 4, dtype=torch.bool)).any()


def test_sums_are_weighted_as_they_say() -> None:
    assert parse_loss("dice+bce") == [(0.5, "dice"), (0.5, "bce")]
    assert parse_loss("0.7*lovasz + .3*bce") == [(0.7, "lovasz"), (0.3, "bce")]
    assert parse_loss("dice+0.1*boundary") == [(1, "dice"), (0.1, "boundary")]
    truth, logits = disc(8), torch.randn(1, 1, 32, 32)
    total = create_loss("0.7*lovasz+0.3*bce")(logits, truth)
    parts = 0.7 * create_loss("lovasz")(logits, truth) + 0.3 * create_loss("bce")(logits, truth)
    assert total.item() == pytest.approx(parts.item(), rel=1e-5)


def test_an_unknown_loss_lists_the_known() -> None:
    with pytest.raises(UsageError, match="focal_tversky"):
        create_loss("dise+bce")
    with pytest.raises(UsageError, match="weighted sum"):
        create_loss("dice++")
