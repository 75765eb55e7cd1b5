"""Going on from a trained classifier: an old archive first, then the one that matters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clsstage.classifier import Classifier
from clsstage.members import KIND, Member, read_members
from lesioncore.errors import LesionError
from lesioncore.progress import log
from weights.imagenet import ImageNetRecord
from weights.provenance import (
    learned_rows,
    member_of,
    read_provenance,
    seen_before,
    with_earlier,
)
from weights.resolve import resolve

if TYPE_CHECKING:
    import pandas as pd


def start_from(network: Classifier, start: str) -> ImageNetRecord:
    """Fill a network with a trained one's weights as far as they fit; return where they came from.

    The encoder must fit whole. Of fusion and head what has the same shape is taken: archives differ
    in their metadata, targets in their classes.

    Raises
    ------
    LesionError
        No classifier there, one of several members, or one with another encoder.
    """
    first = _one_member(start)
    mine, theirs = network.state_dict(), first.network.state_dict()
    known, wanted = first.network.architecture["encoder"], network.architecture["encoder"]
    unfit = [
        key
        for key, value in mine.items()
        if key.startswith("encoder.") and (key not in theirs or theirs[key].shape != value.shape)
    ]
    if known != wanted or unfit:
        raise LesionError(
            f"{start} has the encoder {known!r}"
            + (f", of which {len(unfit)} tensors do not fit" if known == wanted else ""),
            wanted=f"{wanted!r} with the same input, as the flags say",
            mend=f"--encoder {known}, or another --start",
        )
    taken = {
        key: value
        for key, value in theirs.items()
        if key in mine and mine[key].shape == value.shape
    }
    network.load_state_dict({**mine, **taken})
    left = len(mine) - len(taken)
    log.info("starting from %s; %d tensors of fusion and head begin anew", start, left)
    origin = first.card.first_weights
    return ImageNetRecord(
        f"{origin.get('source', 'unknown')}, then {first.card.name}",
        first.card.sha256,
        first.card.licence,
    )


def learned_before(table: pd.DataFrame, start: str) -> tuple[set[str], pd.DataFrame]:
    """Return the ids of a run's images that the weights it starts from know, and the joined record.

    Parameters
    ----------
    table : DataFrame
        What each image of this run is known by; see `weights.provenance`.
    start : str

    Raises
    ------
    LesionError
        There is no record of what they learned from, or it holds images that are kept back for
        testing.
    """
    run, member = member_of(resolve(start, kind=KIND))
    record = read_provenance(run)
    if record is None:
        raise LesionError(
            f"{start} has no record of what it learned from",
            wanted="a run with provenance.csv, or weights with learned_from.csv",
            mend="train it again with this version: clsstage train --out another folder",
        )
    seen = seen_before(table, learned_rows(record, member))
    test = set(table.loc[table["role"] == "test", "image_id"].astype(str)) & seen
    if test:
        raise LesionError(
            f"{start} learned from {len(test)} images of this archive's test list "
            f"(first: {min(test)}), or from their lesions",
            wanted="weights that have not seen what they will be tested on",
            mend="train those with both archives' test lists kept back (--also, or --test-list)",
        )
    return seen, with_earlier(table, record, member).drop_duplicates(ignore_index=True)


def _one_member(start: str) -> Member:
    _, members = read_members(Path(start) if Path(start).exists() else start)
    if len(members) > 1:
        raise LesionError(f"{start} holds {len(members)} members", mend=f"--start {start}/member-0")
    return members[0]
