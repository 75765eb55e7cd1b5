"""Make a weight that ships from a member of a run: 16 bits, a full card, what it learned from.

python -m weights.shipping RUN/member-0 NAME --licence TEXT --training-data TEXT --limits TEXT
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesioncore.calibration import CALIBRATION_FILE
from lesioncore.errors import LesionError
from lesioncore.files import PathLike, read_json
from weights.card import WeightCard
from weights.learned import write_learned
from weights.provenance import learned_rows, read_provenance
from weights.resolve import SHIPPED
from weights.store import load_weights, save_weights

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

MAX_BYTES = 15_000_000
LICENCE = "CC BY-NC 4.0 (that of the training data), not for commercial use"
_QUALITY = "quality.json"


def ship(
    member: PathLike,
    name: str,
    *,
    licence: str = LICENCE,
    training_data: str,
    limits: str,
    metrics: Mapping[str, Any] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    out: PathLike | None = None,
) -> WeightCard:
    """Write ``shipped/NAME`` from a trained member and return its card.

    Parameters
    ----------
    member : path
        ``member-K`` of a finished training; the run around it gives the list of images that this
        member learned from, of a segmenter `quality.json`, of a classifier `calibration.json`.
    name : str
        Letters, digits, - and _.
    licence, training_data, limits : str
        For the card.
    metrics : mapping, optional
        Scores by the set that they were measured on; joined to those of the card.
    preprocessing : mapping, optional
        Changes, such as ``{"tta": "flips"}``.
    out : path, optional
        Left out, the folder of shipped weights.

    Raises
    ------
    LesionError
        No finished run around it, numbers beyond 16 bits, more than `MAX_BYTES`, a folder that is
        there already.
    """
    source = Path(member)
    if not name.replace("-", "").replace("_", "").isalnum():
        raise LesionError(f"the name {name!r}", wanted="letters, digits, - and _")
    state, card = load_weights(source)
    learned = _learned_by(source)
    folder = Path(out) if out is not None else SHIPPED / name
    if folder.exists():
        raise LesionError(f"{folder} is there already", mend=f"rm -r {folder}, or another name")
    full = dataclasses.replace(
        card,
        name=name,
        licence=licence,
        training_data=training_data,
        limits=limits,
        metrics={**card.metrics, **(metrics or {})},
        preprocessing={**card.preprocessing, **(preprocessing or {})},
    )
    try:
        saved = save_weights(folder, half(state), full)
        size = (folder / "weights.safetensors").stat().st_size
        if size > MAX_BYTES:
            raise LesionError(
                f"the weights of {source} take {size / 1e6:.1f} MB at 16 bits",
                wanted=f"at most {MAX_BYTES / 1e6:.0f} MB",
                mend="a smaller encoder or decoder",
            )
        for beside in (_QUALITY, CALIBRATION_FILE):
            if (source.parent / beside).is_file():
                shutil.copyfile(source.parent / beside, folder / beside)
        write_learned(folder, learned)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return saved


def half(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with every kernel at 16 bits.

    Vectors (biases, statistics of norms) stay as they are: they take little room, and variances may
    lie beyond the range of 16 bits.

    Raises
    ------
    LesionError
        A kernel holds a number that 16 bits cannot.
    """
    import torch

    found = {}
    for key, value in state.items():
        small = value.half() if value.is_floating_point() and value.ndim > 1 else value
        if not torch.isfinite(small).all():
            raise LesionError(f"{key} holds numbers that 16 bits cannot", wanted="below 65504")
        found[key] = small
    return found


def _learned_by(member: Path) -> pd.DataFrame:
    """Return the rows of a run's provenance from which this member learned."""
    home = member.parent
    number = member.name.removeprefix("member-")
    table = read_provenance(home) if (home / "run.json").is_file() else None
    if not number.isdigit() or table is None:
        raise LesionError(
            f"{member} is no member of a run",
            wanted="RUN/member-K, with run.json and provenance.csv in RUN",
            mend="segstage train (or clsstage train) --dataset NAME --root DIR --out RUN",
        )
    if not read_json(home / "run.json").get("complete"):
        raise LesionError(f"the run in {home} has not finished", wanted="a complete run")
    return learned_rows(table, int(number)).drop_duplicates("image_id")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `python -m weights.shipping`."""
    parser = argparse.ArgumentParser(
        prog="python -m weights.shipping",
        description="Make a weight that ships from a run's member.",
    )
    parser.add_argument("member", type=Path, help="RUN/member-K")
    parser.add_argument("name", help="by which --weights finds it")
    parser.add_argument("--licence", default=LICENCE)
    parser.add_argument("--training-data", required=True)
    parser.add_argument("--limits", required=True)
    parser.add_argument("--metrics", type=Path, help="JSON: scores by set")
    parser.add_argument("--tta", choices=("none", "flips", "d4"), help="views it is used with")
    parser.add_argument("--out", type=Path, help="left out: the folder of shipped weights")
    given = parser.parse_args(argv)
    try:
        card = ship(
            given.member,
            given.name,
            licence=given.licence,
            training_data=given.training_data,
            limits=given.limits,
            metrics=None if given.metrics is None else json.loads(given.metrics.read_text()),
            preprocessing=None if given.tta in (None, "none") else {"tta": given.tta},
            out=given.out,
        )
    except LesionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(card.to_dict(), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
