"""Weights of the first version still load and say the same."""

from __future__ import annotations

import json

import numpy as np

from clsstage.classifier import create_classifier
from clsstage.members import build_member
from weights.card import WeightCard

#: A card as version 0.1 wrote it before targets, mask planes and offsets an output.
CARD = json.loads("""
{
  "schema_version": 1, "name": "cls member 0", "kind": "classifier",
  "architecture": {"fusion": "none", "encoder": "test_resnet", "metadata_width": 0,
                   "in_channels": 3, "image_size": 32, "dropout": 0.5},
  "preprocessing": {"focus": "dilated_crop+soft_background", "margin": 0.3, "blur": 0.7, "size": 32,
                    "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "version": 1,
                    "metadata": {"version": 1, "order": [], "numbers": {}, "categories": {}},
                    "min_score": 0.0, "min_quality": 0.6, "logit_offset": -1.25, "policy": "cancer"}
}
""")


def test_a_card_without_targets_and_planes_is_a_binary_classifier():
    import torch

    card = WeightCard.from_dict(CARD)
    network = create_classifier(**card.architecture)
    member = build_member(0, network, card)
    assert member.offset == (-1.25,)
    assert member.target.name == "binary"
    assert member.view.planes == 3
    image = torch.zeros(1, 3, 32, 32)
    raw = float(network.eval()(image, torch.zeros(1, 0))[0, 0].detach())
    found = float(member.probabilities(image, torch.zeros(1, 0))[0, 0])
    assert np.isclose(found, 1 / (1 + np.exp(1.25 - raw)), atol=1e-6)
