"""A segmenter as one graph for export: pixels in, maps out, its views and members inside."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lesioncore.errors import UsageError
from segstage.predictor import LesionSegmenter
from segstage.views import disagreement

INPUTS, OUTPUTS = ("image",), ("probability", "disagreement")


class SegmenterGraph(nn.Module):
    """What `LesionSegmenter.maps` computes for one run, as a network.

    Parameters
    ----------
    segmenter : LesionSegmenter
        Of one run.

    Raises
    ------
    UsageError
        Several runs, or a member that draws its mask in another way than by one network.
    """

    def __init__(self, segmenter: LesionSegmenter) -> None:
        super().__init__()
        if len(segmenter.runs) > 1:
            raise UsageError("several segmenters", wanted="one run, which may have several members")
        for member in segmenter.members:
            if not member.exportable:
                raise UsageError(
                    f"the segmenter {member.name!r} cannot be exported",
                    wanted="a network from pixels to a map: unet, attention_unet, fpn, ...",
                    mend="lesion export --segmenter another, or --stage classifier",
                )
        self.members = nn.ModuleList(segmenter.members)
        self.views = segmenter.runs[0].views

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return maps and how far their voters lie apart.

        Parameters
        ----------
        image : (B, S, S, 3) uint8 RGB
            Stretched by `segstage.stretch.stretch`.

        Returns
        -------
        probability : (B, S, S) float32, whole numbers 0 to 255
        disagreement : (B,) float32, -1 where a single map has no other to disagree with
        """
        voters: list[Tensor] = []
        for member in self.members:
            ready = member.prepare(image)  # type: ignore[operator]
            # One pass over all views: a quarter of the graph, and of the time to export it.
            seen = torch.cat([view.of(ready) for view in self.views])
            maps = member(seen).float().sigmoid()[:, 0].unflatten(0, (len(self.views), -1))
            voters += [view.back(one) for view, one in zip(self.views, maps.unbind(0), strict=True)]
        total = voters[0]
        for one in voters[1:]:
            total = total + one
        apart = disagreement(voters)
        none = total.new_full((total.shape[0],), -1.0)
        return (total * (255 / len(voters))).round(), none if apart is None else apart.float()
