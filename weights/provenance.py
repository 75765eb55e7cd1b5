"""Which member of a run saw which image: out-of-fold masks and honest scores depend on it.

A run keeps ``provenance.csv``: the split with each image's content hash, patient and lesion. An
image of any archive is recognised as seen by its id, its bytes, its lesion or its patient. A weight
that ships keeps ``learned_from.csv`` instead, see `weights.learned`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesioncore.errors import LesionError
from lesioncore.files import PathLike, read_table, write_table
from weights.learned import DIGITS, read_learned

if TYPE_CHECKING:
    import pandas as pd

FILE = "provenance.csv"
KEYS = ("image_id", "image_sha256", "patient_id", "lesion_id")


@dataclass(frozen=True)
class Assignment:
    """Who segments an image.

    Attributes
    ----------
    members : tuple of int
        Their probabilities are averaged.
    label : str
        For the cache: "0", "1", ... or "mean".
    in_sample : bool
        Every member that could be asked learned from the image or its group.
    group : str
        The run's group that the image belongs to; empty when the run never met it.
    """

    members: tuple[int, ...]
    label: str
    in_sample: bool
    group: str = ""


class Provenance:
    """What the members of a run were trained on.

    Parameters
    ----------
    table : DataFrame or None
        Columns `image_id`, `group`, `fold`, `role`, `image_sha256`, `patient_id`, `lesion_id`. None
        when there is no record: every image is then taken for unseen.
    members : int
        How many members the run has.
    """

    def __init__(self, table: pd.DataFrame | None, members: int) -> None:
        self.members = members
        self.known = table is not None
        self._group_of: dict[str, dict[str, str]] = {key: {} for key in KEYS}
        self._also: dict[str, set[str]] = defaultdict(set)
        self._seen_by: dict[str, set[int]] = defaultdict(set)
        if table is not None:
            self._read(table)

    def _read(self, table: pd.DataFrame) -> None:
        groups = table["group"].astype(str).tolist()
        roles, folds = table["role"].tolist(), table["fold"].astype(int).tolist()
        for group, role, fold in zip(groups, roles, folds, strict=True):
            if role == "train":
                # A single split has fold 0 to validate, fold 1 to train: the same rule as folds.
                self._seen_by[group] |= {k for k in range(self.members) if k != fold}
        for key in KEYS:
            for value, group in zip(table[key].tolist(), groups, strict=True):
                if isinstance(value, str) and value:
                    value = _known_by(key, value)
                    first = self._group_of[key].setdefault(value, group)
                    if first != group:  # possible in splits made by hand only
                        self._also[first].add(group)

    def assign(
        self, image_id: str, image_sha256: str = "", patient_id: Any = None, lesion_id: Any = None
    ) -> Assignment:
        """Return who segments an image: the member that did not see its group, else the mean.

        Parameters
        ----------
        image_id, image_sha256 : str
        patient_id, lesion_id : str or null
        """
        groups: set[str] = set()
        for key, value in zip(KEYS, (image_id, image_sha256, patient_id, lesion_id), strict=True):
            known = _known_by(key, value) if isinstance(value, str) else None
            if known in self._group_of[key]:
                first = self._group_of[key][known]
                groups |= {first} | self._also.get(first, set())
        seen = set().union(*(self._seen_by.get(group, set()) for group in groups))
        group = min(groups) if groups else ""
        everyone = tuple(range(self.members))
        free = [k for k in everyone if k not in seen]
        if seen and free:
            return Assignment((free[0],), str(free[0]), False, group)
        label = "mean" if self.members > 1 else "0"
        return Assignment(everyone, label, bool(seen), group)


def _known_by(key: str, value: str) -> str:
    """Return by what an image is known: of a hash its first digits, as shipped weights keep."""
    return value[:DIGITS] if key == "image_sha256" else value


def provenance_table(
    split: pd.DataFrame, manifest: pd.DataFrame, digests: dict[str, str]
) -> pd.DataFrame:
    """Return the table of a `Provenance` from a split, its manifest and the images' hashes."""
    facts = manifest.set_index(manifest["image_id"].astype(str))[["patient_id", "lesion_id"]]
    table = split.copy()
    ids = table["image_id"].astype(str)
    table["image_sha256"] = ids.map(digests).fillna("")
    for key in ("patient_id", "lesion_id"):
        table[key] = facts[key].reindex(ids).to_numpy()
    return table


def member_of(home: Path) -> tuple[Path, int]:
    """Return the folder whose record tells of the weights in `home`, and which member they are.

    ``RUN/member-K`` is member K of RUN; a run or a weights folder, whatever its name, is member 0.
    """
    number = home.name.removeprefix("member-")
    if number.isdigit() and (home.parent / "run.json").is_file():
        return home.parent, int(number)
    return home, 0


def learned_rows(table: pd.DataFrame, member: int = 0) -> pd.DataFrame:
    """Return the rows of a record from which a member learned."""
    return table[(table["role"] == "train") & (table["fold"].astype(int) != member)]


def seen_before(table: pd.DataFrame, learned: pd.DataFrame) -> set[str]:
    """Return the ids of a run's images that are known from what other weights learned from.

    An image is known by its id, its bytes, its lesion or its patient, and so is its whole group.

    Parameters
    ----------
    table : DataFrame
        Of this run, see `Provenance`.
    learned : DataFrame
        Of `learned_rows`.
    """
    import numpy as np

    known = np.zeros(len(table), bool)
    for key in KEYS:
        values = {_known_by(key, v) for v in learned[key] if isinstance(v, str) and v}
        mine = [_known_by(key, v) if isinstance(v, str) else "" for v in table[key]]
        known |= np.array([value in values for value in mine], bool)
    groups = set(table.loc[known, "group"])
    return set(table.loc[table["group"].isin(groups), "image_id"].astype(str))


def with_earlier(
    table: pd.DataFrame, earlier: pd.DataFrame | None, member: int = 0
) -> pd.DataFrame:
    """Return a run's record joined with that of the weights it started from.

    What those learned from every member of the new run has seen, whatever its own split says.

    Parameters
    ----------
    table, earlier : DataFrame
        See `Provenance`; `earlier` is None where nothing is known.
    member : int
        Which member of the earlier run it was.
    """
    import pandas as pd

    if earlier is None:
        return table
    seen = learned_rows(earlier, member)
    # A record that is read again has the earlier rows already; the run's own come first.
    known = table.drop_duplicates("image_id")
    group = known.set_index(known["image_id"].astype(str))["group"]
    ids = seen["image_id"].astype(str)
    seen = seen.assign(group=ids.map(group).fillna(ids).to_numpy(), fold=-1, role="train")
    columns = [name for name in table.columns if name in seen]
    return pd.concat([table, seen[columns]], ignore_index=True)


def write_provenance(folder: PathLike, table: pd.DataFrame) -> None:
    """Write ``provenance.csv``."""
    write_table(Path(folder) / FILE, table)


def read_provenance(folder: PathLike) -> pd.DataFrame | None:
    """Return what the members in a run or weights folder learned from, None without a record."""
    path = Path(folder) / FILE
    if not path.is_file():
        learned = read_learned(folder)
        # A fold that nobody validates on: every member learned from these images.
        return (
            None
            if learned is None
            else learned.assign(group=learned["image_id"], fold=-1, role="train")
        )
    text = dict.fromkeys((*KEYS, "group", "role"), str)
    table = read_table(path, dtype=text, keep_default_na=True)
    missing = {*text, "fold"} - set(table.columns)
    if missing:
        raise LesionError(f"{path} lacks the columns {', '.join(sorted(missing))}")
    return table
