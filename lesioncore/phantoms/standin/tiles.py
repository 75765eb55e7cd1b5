"""Tiles: cut from the pool, turned, recoloured and encoded, a part (file) for each block."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from lesioncore.errors import LesionError
from lesioncore.files import atomic_path
from lesioncore.phantoms.standin.plan import Draws, Plan
from lesioncore.phantoms.standin.pool import SIDE, Pool

#: Quality of the official JPEGs, by their quantisation tables; colour is halved (4:2:0) too.
QUALITY = 75
_SHIFT = 5.0  # furthest that a lesion lies from the centre of its tile, pixels
_LEVELS = np.arange(256, dtype=np.float32)[:, None]


def draw_tile(pool: Pool, draws: Draws, index: int) -> npt.NDArray[np.uint8]:
    """Return a tile, (side, side, 3) uint8 BGR.

    Parameters
    ----------
    pool : Pool
    draws : Draws
        Of the tile's block.
    index : int
        Of the tile in its block.
    """
    source = int(draws.patient[index]), int(draws.lesion[index])
    side, turn = int(draws.side[index]), int(draws.turn[index])
    middle = pool.centre(*source) + _SHIFT * draws.shift[index]
    top, left = np.clip(np.rint(middle - side / 2), 0, SIDE - side).astype(int)
    tile = pool.picture(*source)[top : top + side, left : left + side]
    tile = np.rot90(tile[:, ::-1] if turn >= 4 else tile, turn % 4)
    table = np.minimum(_LEVELS * draws.gains[index].astype(np.float32), 255.0)
    return np.asarray(
        cv2.LUT(np.ascontiguousarray(tile), np.rint(table).astype(np.uint8)[None]), np.uint8
    )


def write_part(plan: Plan, folder: Path, block: int) -> None:
    """Encode the tiles of a block into one file, whole or not at all."""
    draws, pool = plan.draws(block), Pool(folder)
    encoded = []
    for index in range(len(draws.patient)):
        done, data = cv2.imencode(
            ".jpg", draw_tile(pool, draws, index), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
        )
        if not done:
            raise LesionError(f"could not encode tile {index} of block {block} as JPEG")
        encoded.append(data.ravel())
    ends = np.cumsum([len(data) for data in encoded], dtype=np.int64)
    with atomic_path(part_path(folder, block)) as temporary:
        np.savez(temporary, ends=ends, data=np.concatenate(encoded))


def part_path(folder: Path, block: int) -> Path:
    """Return the file of a block."""
    return folder / f"part-{block:05d}.npz"


def read_part(plan: Plan, folder: Path, block: int) -> Iterator[bytes]:
    """Yield the JPEG bytes of a block's tiles.

    Raises
    ------
    LesionError
        The file is damaged. It is removed, so that the same command draws it again.
    """
    path = part_path(folder, block)
    try:
        with np.load(path) as part:  # checks the CRC of both arrays
            ends, data = part["ends"], part["data"].tobytes()
        if len(ends) != plan.count(block) or ends[-1] != len(data):
            raise ValueError(f"{len(ends)} tiles")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        path.unlink(missing_ok=True)
        raise LesionError(
            f"{path} is damaged ({error}) and was removed",
            wanted=f"{plan.count(block)} tiles as they were written",
            mend="give the same command again: only this part is drawn again",
        ) from error
    start = 0
    for end in ends.tolist():
        yield data[start:end]
        start = end
