"""A classifier as one graph for export: pixels and metadata in, probabilities out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clsstage.members import VIEWS, turned
from clsstage.predictor import LesionClassifier

INPUTS, OUTPUTS = ("image", "metadata"), ("probabilities",)


class ClassifierGraph(nn.Module):
    """The mean of a classifier's members, each over its views, before any calibration.

    Parameters
    ----------
    classifier : LesionClassifier
    views : int, optional
        Flips and transposes averaged, 1 to 8; left out, as each card says.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, classifier: LesionClassifier, views: int | None = None) -> None:
        super().__init__()
        self.networks = nn.ModuleList(member.network for member in classifier.members)
        self.widths = [member.encoder.width for member in classifier.members]
        self.offsets = [torch.tensor(member.offset) for member in classifier.members]
        self.views = [
            views or VIEWS[member.card.preprocessing.get("tta", "none")]
            for member in classifier.members
        ]
        self.target = classifier.target
        view = classifier.members[0].view
        # As `View.tensor`: the mask has no statistics of its own, a half keeps it in range.
        mean, std = ((*values, 0.5)[: view.planes] for values in (view.mean, view.std))
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, image: Tensor, metadata: Tensor) -> Tensor:
        """Return (B, 1 + classes) float32: of malignancy, then of each class where there are any.

        Parameters
        ----------
        image : (B, S, S, planes) uint8
            By `View.picture`.
        metadata : (B, sum of widths) float32
            Encoded by each member's own encoder, side by side.
        """
        pixels = (image.permute(0, 3, 1, 2).float() - self.mean) / self.std
        codes = metadata.split(self.widths, dim=1)
        found = []
        for network, code, offset, count in zip(
            self.networks, codes, self.offsets, self.views, strict=True
        ):
            # One pass over all views: a small graph, and little time to export it.
            seen = network(torch.cat(turned(pixels, count)), code.repeat(count, 1))
            outputs = seen.unflatten(0, (count, -1)).mean(0) + offset
            malignant = torch.sigmoid(self.target.logit(outputs))[:, None]
            classes = [outputs.softmax(1)] if self.target.classes else []
            found.append(torch.cat([malignant, *classes], 1))
        return torch.stack(found).mean(0)
