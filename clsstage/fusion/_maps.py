"""Where the channels of feature maps lie, which their shape alone does not tell.

The rule: three axes are tokens, channels last. Of four axes the second holds the channels where it
has as many places as the encoder has channels, else the last. Where both would fit, channels come
first; that takes a picture of as many rows as channels, which no encoder's last maps are.
"""

from __future__ import annotations

from torch import Tensor

from lesioncore.errors import LesionError


def channel_axis(maps: Tensor, channels: int) -> int:
    """Return the axis of the channels of (B, C, h, w), (B, h, w, C) or (B, N, C) maps.

    Raises
    ------
    LesionError
        No axis that may hold the channels has that many places.
    """
    axes = (1, 3) if maps.ndim == 4 else (2,)
    for axis in axes:
        if axis < maps.ndim and maps.shape[axis] == channels:
            return axis
    raise LesionError(
        f"the encoder's maps have shape {tuple(maps.shape)}",
        wanted=f"{channels} channels in (B, C, h, w), (B, h, w, C) or (B, N, C)",
        mend="--fusion concat or none, which look at pooled features only",
    )


def over_places(values: Tensor, maps: Tensor, channels: int) -> Tensor:
    """Return (B, C) values in a shape that broadcasts over the places of maps."""
    shape = [len(values)] + [1] * (maps.ndim - 1)
    shape[channel_axis(maps, channels)] = channels
    return values.reshape(shape)


def as_tokens(maps: Tensor, channels: int) -> Tensor:
    """Return maps as (B, N, C), a token a place, row by row."""
    if maps.ndim == 3:
        channel_axis(maps, channels)
        return maps
    return maps.movedim(channel_axis(maps, channels), 3).flatten(1, 2)
