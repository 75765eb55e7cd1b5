"""The store of a stand-in: JPEG bytes in HDF5, one dataset a tile, as ISIC 2024 publishes it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lesioncore.files import writing_to
from lesioncore.phantoms.standin.plan import BLOCK, Plan, tile_id
from lesioncore.phantoms.standin.tiles import read_part
from lesioncore.progress import track

if TYPE_CHECKING:
    import h5py


def write_store(plan: Plan, folder: Path, target: Path) -> None:
    """Join all parts into one HDF5 file, built in `folder` and moved to `target`.

    HDF5 has one writer and no journal: what a kill leaves of it cannot be read. So the parts hold
    what is finished, and the store is made from them in one go.

    Notes
    -----
    As in the official file: scalar datasets of fixed-length bytes (`|S`), keyed by id, in the
    format of HDF5 1.8 (libver "earliest").
    """
    import h5py

    unfinished = folder / target.name
    with writing_to(target), h5py.File(unfinished, "w", libver="earliest") as store:
        number = 0
        for block in track(plan.blocks, "writing the store", plan.n, advance=BLOCK):
            for data in read_part(plan, folder, block):
                _add(store, tile_id(number), data)
                number += 1
    with writing_to(target):
        os.replace(unfinished, target)


def _add(store: h5py.File, key: str, data: bytes) -> None:
    # The low level: h5py's create_dataset takes three times as long.
    from h5py import h5d, h5p, h5s, h5t

    kind = h5t.py_create(np.dtype(f"S{len(data)}"))
    options = h5p.create(h5p.DATASET_CREATE)
    options.set_obj_track_times(False)  # the same tiles must give the same file
    made = h5d.create(store.id, key.encode(), kind, h5s.create(h5s.SCALAR), options)
    made.write(h5s.ALL, h5s.ALL, np.array(data), kind)
