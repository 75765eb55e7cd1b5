"""One mask of the cache: what is known about it, and its payload."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lesioncore import geometry
from lesioncore.errors import LesionError

Status = Literal["ok", "empty", "failed", "edited"]
STATUSES: tuple[str, ...] = get_args(Status)


def threshold_level(threshold: float) -> int:
    """Return the smallest 8-bit value that counts as lesion: `ceil(255 * threshold)`, at least 1.

    One millionth is taken off first, so that 0.2 is 51 and not, by a rounding error, 52.
    """
    return min(255, max(1, math.ceil(255.0 * threshold - 1e-6)))


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskRow:
    """All of a mask but its pixels.

    Attributes
    ----------
    image_id, image_sha256 : str
        Which image; SHA-256 of its bytes as 64 hex digits, or empty where unknown.
    shape : (H, W)
        Size of the original image, pixels.
    box : (y0, x0, y1, x1)
        Around the thresholded mask, half-open, original pixels; zeros when there is none.
    area : int
        Pixels of the thresholded mask at the original size.
    score : float
        The segmenter's confidence, 0 to 1.
    quality, disagreement : float or None
        Predicted quality (0 to 1) and disagreement between members; None: not computed.
    threshold : float
        Probability from which a pixel is lesion, 0 to 1.
    member : str
        "0", "1", ... which fold's member made it; "mean" of all; "truth", "import", "edit".
    in_sample : bool
        The member learned from this image (or its group): too good to train stage 2 on.
    revision : int
        0 from a segmenter, 1 and up from people.
    status : {"ok", "empty", "failed", "edited"}
    reason : str
        Why it failed or is empty; empty otherwise.
    encoding : {"soft8", "bin1"}
    payload_shape : (h, w)
    transform : (2, 3) float64
        Pixel centres `(x, y)`, payload to original.
    """

    image_id: str
    image_sha256: str
    shape: tuple[int, int]
    box: tuple[int, int, int, int]
    area: int
    score: float
    quality: float | None = None
    disagreement: float | None = None
    threshold: float = 0.5
    member: str = "0"
    in_sample: bool = False
    revision: int = 0
    status: Status = "ok"
    reason: str = ""
    encoding: Literal["soft8", "bin1"] = "soft8"
    payload_shape: tuple[int, int] = (0, 0)
    transform: NDArray[np.float64] = dataclasses.field(default_factory=geometry.IDENTITY.copy)


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskEntry(MaskRow):
    """A mask: its row and its payload.

    Attributes
    ----------
    payload : (h, w) uint8
        Probability * 255 for `soft8`; 0 or 255 for `bin1`. Treat it as read-only.
    """

    payload: NDArray[np.uint8]

    def soft(self) -> NDArray[np.uint8]:
        """Return the payload at the original size, `(H, W) uint8`, 0 to 255."""
        return geometry.inverse_resize(self.payload, self.shape, self.transform)

    def mask(self) -> NDArray[np.bool_]:
        """Return the mask at the original size, `(H, W) bool`: what box, area and status say."""
        return self.soft() >= threshold_level(self.threshold)

    @classmethod
    def from_soft(
        cls,
        *,
        image_id: str,
        image_sha256: str,
        shape: Sequence[int],
        payload: NDArray[np.uint8],
        threshold: float = 0.5,
        score: float,
        member: str,
        in_sample: bool,
        quality: float | None = None,
        disagreement: float | None = None,
        reason: str = "",
        transform: NDArray[np.float64] | None = None,
    ) -> MaskEntry:
        """Return the entry of a soft mask; box, area and status are computed here.

        Parameters
        ----------
        shape : (H, W)
            Size of the original image.
        payload : (h, w) uint8
            Probability * 255 at the working resolution, post-processed: nothing at or above the
            threshold is left outside the mask that is meant.
        transform : (2, 3) float64, optional
            Payload to original; left out, the payload covers the whole image.
        """
        payload = np.ascontiguousarray(payload)
        if payload.dtype != np.uint8 or payload.ndim != 2 or payload.size == 0:
            raise LesionError(
                f"the soft mask of {image_id!r} is {payload.shape} {payload.dtype}",
                wanted="(h, w) uint8, at least one pixel",
            )
        return cls._described(
            image_id=image_id,
            image_sha256=image_sha256,
            shape=(int(shape[0]), int(shape[1])),
            payload=payload,
            payload_shape=(payload.shape[0], payload.shape[1]),
            threshold=float(threshold),
            score=float(score),
            quality=_optional(quality),
            disagreement=_optional(disagreement),
            member=member,
            in_sample=bool(in_sample),
            reason=reason,
            encoding="soft8",
            transform=geometry.resize_matrix(payload.shape, shape)
            if transform is None
            else np.asarray(transform, np.float64),
        )

    @classmethod
    def from_mask(
        cls,
        *,
        image_id: str,
        image_sha256: str,
        mask: NDArray[np.generic],
        score: float = 1.0,
        member: str,
        in_sample: bool,
        status: Status | None = None,
        quality: float | None = None,
        revision: int = 0,
        reason: str = "",
    ) -> MaskEntry:
        """Return the entry of a binary mask at the original size, which comes back exactly.

        Parameters
        ----------
        mask : (H, W) bool or uint8
            Not 0 is lesion.
        status : optional
            Left out: `ok`, or `empty` where no pixel is set.
        """
        if mask.ndim != 2:
            raise LesionError(f"the mask of {image_id!r} is {mask.shape}", wanted="(H, W)")
        payload = np.where(mask != 0, np.uint8(255), np.uint8(0))
        shape = (payload.shape[0], payload.shape[1])
        entry = cls._described(
            image_id=image_id,
            image_sha256=image_sha256,
            shape=shape,
            payload=payload,
            payload_shape=shape,
            threshold=0.5,
            score=float(score),
            quality=_optional(quality),
            member=member,
            in_sample=bool(in_sample),
            revision=revision,
            reason=reason,
            encoding="bin1",
            transform=geometry.IDENTITY.copy(),
        )
        return entry if status is None else dataclasses.replace(entry, status=status)

    @classmethod
    def failed(
        cls,
        *,
        image_id: str,
        image_sha256: str,
        reason: str,
        shape: Sequence[int] = (0, 0),
        member: str = "0",
        in_sample: bool = False,
    ) -> MaskEntry:
        """Return the entry of an image that gave no mask, with the reason."""
        return cls(
            image_id=image_id,
            image_sha256=image_sha256,
            shape=(int(shape[0]), int(shape[1])),
            box=geometry.EMPTY_BOX,
            area=0,
            score=0.0,
            member=member,
            in_sample=in_sample,
            status="failed",
            reason=reason,
            payload=np.zeros((0, 0), np.uint8),
        )

    def binary(self) -> MaskEntry:
        """Return this entry with its payload thresholded at its own resolution (`bin1`)."""
        if self.encoding == "bin1" or self.payload.size == 0:
            return self
        level = threshold_level(self.threshold)
        payload = np.where(self.payload >= level, np.uint8(255), np.uint8(0))
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        fields.update(payload=payload, encoding="bin1", threshold=0.5)
        return self._described(**fields)

    @classmethod
    def _described(cls, **fields: object) -> MaskEntry:
        """Build the entry, then fill in what its own mask says."""
        fields.update(box=geometry.EMPTY_BOX, area=0)
        entry = cls(**fields)  # type: ignore[arg-type]
        mask = entry.mask()
        area = int(np.count_nonzero(mask))
        box = geometry.mask_box(mask) if area else geometry.EMPTY_BOX
        status: Status = entry.status if entry.status in ("failed", "edited") else "ok"
        if status == "ok" and area == 0:
            status = "empty"
        reason = entry.reason
        if status == "empty" and not reason:
            reason = "no pixel reached the threshold"
        return dataclasses.replace(entry, box=box, area=area, status=status, reason=reason)


def row_of(entry: MaskRow) -> MaskRow:
    """Return the row of an entry, so that its pixels can be let go."""
    return MaskRow(**{name: getattr(entry, name) for name in MaskRow.__dataclass_fields__})


def _optional(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
