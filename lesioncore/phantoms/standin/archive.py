"""Making a stand-in: pool, parts, table and store, each finished piece kept; whole or not there."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from lesioncore.errors import LesionError
from lesioncore.files import (
    PathLike,
    nearest_folder,
    read_json,
    write_json,
    write_text,
    writing_to,
)
from lesioncore.phantoms.archive import SOURCE, differing_options
from lesioncore.phantoms.standin.jobs import run_jobs
from lesioncore.phantoms.standin.plan import Plan
from lesioncore.phantoms.standin.pool import (
    chunks,
    draw_chunk,
    is_drawn,
    pool_bytes,
    read_traits,
)
from lesioncore.phantoms.standin.store import write_store
from lesioncore.phantoms.standin.table import rows_of
from lesioncore.phantoms.standin.tiles import part_path, write_part
from lesioncore.progress import log, track

#: Goes up whenever the same seed would give other tiles or another table.
GENERATOR_VERSION = 1
MARKER = "stand-in.json"
STORE, TABLE = "train-image.hdf5", "train-metadata.csv"
_WORK = "unfinished"
# Bytes a tile, measured on 4,000 and rounded up: as JPEG, around it in HDF5, and its row.
_JPEG, _ENTRY, _ROW = 3_000, 450, 700

_README = """Stand-in for ISIC 2024: synthetic phantom, made for benchmarks
=============================================================

Every tile in this folder was drawn by a program (lesion-pipeline, lesioncore.phantoms.standin) from
random numbers. None shows a person, a patient or a disease. Ages, sexes, sites, measurements and
diagnoses are made up as well; no row or picture was taken from the real archive. The files only
have the layout, the columns and the size of ISIC 2024 (SLICE-3D), so that programs can be timed.
Nothing about skin cancer can be learned from them, and no score on them means anything.

train-image.hdf5     {n} tiles: JPEG bytes, one dataset an id (PHANTOM_TILE_...)
train-metadata.csv   one row a tile, the 55 columns of the official table
stand-in.json        the options; the same ones give the same files
"""


def make_stand_in(folder: PathLike, plan: Plan, *, workers: int = 1) -> None:
    """Write a stand-in for ISIC 2024 to `folder`.

    A run that was cut off goes on with the same options: what it finished lies in `unfinished/`,
    which is removed at the end. `stand-in.json` is marked complete last; a complete folder with the
    same options is left as it is. How many workers there are changes nothing in the files.

    Parameters
    ----------
    folder : path
        Absent, empty, or a stand-in.
    plan : Plan
    workers : int
        Processes that draw and encode; up to 1 is this one.

    Raises
    ------
    LesionError
        The folder holds something else or a stand-in of other options, the disk has no room, or a
        worker was killed.
    """
    root = Path(folder)
    options = {
        "source": SOURCE,
        "purpose": "made for benchmarks",
        "generator_version": GENERATOR_VERSION,
        "n": plan.n,
        "patients": plan.patients,
        "seed": plan.seed,
        "prevalence": plan.prevalence,
    }
    if _is_complete(root, options):
        return
    work = root / _WORK
    _check_room(root, plan, work)
    write_json(root / MARKER, {**options, "complete": False})
    write_text(root / "README.md", _README.format(n=f"{plan.n:,}"))
    missing = [chunk for chunk in chunks(plan) if not is_drawn(work, chunk)]
    run_jobs(partial(draw_chunk, plan, work), missing, workers, "drawing lesions")
    missing = [block for block in plan.blocks if not part_path(work, block).is_file()]
    if len(missing) < len(plan.blocks):
        log.info("%d of %d parts are there already", len(plan.blocks) - len(missing),
                 len(plan.blocks))  # fmt: skip
    run_jobs(partial(write_part, plan, work), missing, workers, "drawing tiles")
    _write_table(plan, work, root / TABLE)
    write_store(plan, work, root / STORE)
    write_json(root / MARKER, {**options, "complete": True})
    shutil.rmtree(work)


def bytes_needed(plan: Plan) -> int:
    """Return how many bytes of disk making a stand-in takes at most: parts and store together."""
    return pool_bytes(plan) + plan.n * (2 * _JPEG + _ENTRY + _ROW)


def _write_table(plan: Plan, work: Path, target: Path) -> None:
    traits = read_traits(plan, work)
    targets = plan.targets(traits["log_odds"])
    unfinished = work / target.name
    with writing_to(target), unfinished.open("w", encoding="utf-8", newline="") as handle:
        for block in track(plan.blocks, "writing the table"):
            rows = rows_of(plan, block, traits, targets)
            rows.to_csv(handle, index=False, header=block == 0, lineterminator="\n")
    with writing_to(target):
        os.replace(unfinished, target)


def _is_complete(root: Path, options: dict[str, Any]) -> bool:
    """Return whether a stand-in of these options is there; refuse a folder with anything else."""
    if not root.exists():
        return False
    if not root.is_dir():
        raise LesionError(f"{root} is a file", wanted="a folder for the stand-in")
    marker = root / MARKER
    if not marker.is_file():
        names = sorted(item.name for item in root.iterdir())
        if names:
            raise LesionError(
                f"{root} is not empty and holds no stand-in: {', '.join(names[:8])}",
                wanted=f"an empty or new folder, or one with a {MARKER}",
                mend="choose another --out",
            )
        return False
    there = read_json(marker)
    if not isinstance(there, dict) or there.get("source") != SOURCE:
        raise LesionError(f"{marker} was not written by this tool", mend="choose another --out")
    differing = differing_options(there, options)
    if differing:
        raise LesionError(
            f"{root} holds a stand-in made with other options: {'; '.join(differing)}",
            wanted="the same options (to go on with a run that was cut off), or another folder",
            mend="choose another --out, or remove this folder",
        )
    whole = (root / STORE).is_file() and (root / TABLE).is_file()
    if there.get("complete") and whole:
        shutil.rmtree(root / _WORK, ignore_errors=True)  # killed between the mark and the removal
        return True
    return False


def _check_room(root: Path, plan: Plan, work: Path) -> None:
    there = sum(item.stat().st_size for item in work.iterdir()) if work.is_dir() else 0
    needed = max(bytes_needed(plan) - there, 0)
    free = shutil.disk_usage(nearest_folder(root)).free
    if free < needed:
        raise LesionError(
            f"{free / 2**30:.2f} GiB are free at {root}, a stand-in of {plan.n:,} tiles takes up "
            f"to {needed / 2**30:.2f} GiB while it is made",
            wanted="room for the parts and the finished store",
            mend="free space, choose another --out, or a smaller --n",
        )
